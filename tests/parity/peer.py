"""The peer as it is published: what several comparisons set up in diffusers."""

from diffusers import FlowMatchEulerDiscreteScheduler


def shifted_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The scheduler of FLUX.1 [dev] and Kontext: shifted by resolution; its `shift` of 3 is then not used."""
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )
