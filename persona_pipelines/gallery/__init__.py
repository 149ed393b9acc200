STAGE = "gallery"
