"""What each number of metrics.json is, for the report's last table; "*" stands for a method."""

NUMBERS = {
    "images": "images explained",
    "parameters": "parameters of the network",
    "train_accuracy": "share of training images classified as labelled",
    "test_accuracy": "share of test images classified as labelled",
    "accuracy_on_explained_images": "share of the explained images classified as labelled",
    "final_loss": "training loss at the end (nats)",
    "object_area": "share of the image that the object covers, median over images",
    "*_arrives": "share of the explained logit that arrives at the pixels, median over images",
    "*_abpc": "area between the pixel-flipping curves, median over images (logit units)",
    "*_aopc": "mean fall of the logit as the most relevant regions go first, median over images (logit units)",
    "*_gini": "Gini index of |relevance| over pixels: 0 is even, 1 is one pixel; median over images",
    "*_entropy": "entropy of |relevance| over pixels, median over images (nats)",
    "*_mass_accuracy": "share of the positive relevance that lies on the object, median over images",
    "*_rank_accuracy": "share of the K most relevant pixels that lie on the object of K pixels, median over images",
    "*_mprt_last_layer": "rank correlation of |relevance| with random weights in the last layer, median over images",
    "*_mprt_all_layers": "rank correlation of |relevance| with random weights in all layers, median over images",
}
