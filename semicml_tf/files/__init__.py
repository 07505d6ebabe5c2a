"""Medical images on disk: readers of file formats, and the folder layouts that name the files of each case."""
