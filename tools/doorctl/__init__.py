"""doorctl: the host command line. It imports the firmware's own formats and defines none itself."""
