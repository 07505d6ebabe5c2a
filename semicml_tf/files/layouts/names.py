"""The layouts by name: one list for the catalogue, the flags and their help, which loads no layout.

A new layout is a module in this folder and a line here. Its position decides where help and errors name it.
"""

AUTO = "auto"
# The module of each layout, and the object in it where a module defines several.
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
