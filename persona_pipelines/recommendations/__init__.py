STAGE = "recommendations"
