"""One file a paper: a file here is a published method. Nothing below imports from here, no method imports another."""
