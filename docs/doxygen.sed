# SPDX-License-Identifier: MIT
# The headers have ordinary comments; doxygen reads each as documentation of what it stands at.
/SPDX/!{
s:\([^[:space:]].*\)#\([[:alpha:]]\):\1\\#\2:
s:^\([[:space:]]*\)/\*\([[:space:]]\|$\):\1/**\2:
s:^\([[:space:]]*[^[:space:]/].*[[:space:]]\)/\*[[:space:]]:\1/**< :
}
