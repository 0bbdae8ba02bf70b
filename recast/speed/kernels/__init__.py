"""Our Triton kernels, one to a file; imported only where Triton is (`recast.speed.fused.missing`)."""
