"""The images to predict on: photos, folders, patterns, lists, manifests, videos and pixels."""
