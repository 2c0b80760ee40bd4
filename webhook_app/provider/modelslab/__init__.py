"""ModelsLab, its enterprise flux endpoints (`flux/text2img`, `flux/img2img`)."""
