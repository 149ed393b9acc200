"""The end of the flow: what the stages have made takes the place of what people read, all of it at one moment."""

STAGE = "publication"
