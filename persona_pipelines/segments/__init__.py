STAGE = "segments"
