"""The names of the layouts, for the catalogue, the flags and their help. Importing this file imports no layout.

A new layout is a module in this folder and a line here. Help and errors list the layouts in this order.
"""

AUTO = "auto"
# The module of each layout, and the object in it if the module defines several layouts.
PLACES = {
    "hecktor": "hecktor:HECKTOR",
    "hecktor2021": "hecktor:HECKTOR_2021",
    "brats": "brats:BRATS",
    "brats2023": "brats:BRATS_2023",
    "decathlon": "decathlon",
    "nnunet": "nnunet",
    "bids": "bids",
    "csv": "csv_manifest",
    "dicom": "dicom",
}
