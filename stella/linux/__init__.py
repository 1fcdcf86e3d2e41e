"""Text of the kernel and of libvirt, parsed and printed. Opens nothing."""
