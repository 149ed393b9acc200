STAGE = "profiles"
