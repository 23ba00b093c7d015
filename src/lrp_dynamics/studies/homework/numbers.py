"""What each number of metrics.json is, for the report's last table; "*" stands for a kind of map or a step."""

NUMBERS = {
    "iterations": "training steps",
    "test_images": "test images that the accuracies are measured on",
    "final_accuracy": "share of test images classified as labelled after the last step",
    "accuracy_at_*": "share of test images classified as labelled after so many steps",
    "images_with_evidence_share": "share of test images with positive evidence for their own class at the end",
    "object_area_median": "share of the image that the object covers, median over images",
    "*_explained_images": "images explained",
    "*_conservation_error_max": "largest |evidence − ΣR|, relative to the larger of |evidence| and Σ|R|",
    "*_unaccounted_relevance_max": "the same after subtracting what stabilizers and dead units absorb",
    "*_mass_on_object_median": "share of the map that lies on the object, median over images",
    "*_similarity_first_to_last_median": "cosine of an image's first map with its last, median over images",
    "*_similarity_of_two_images_median": "cosine of the last maps of two different images, median",
}
