"""What each number of metrics.json and training.json is, for the report's last table."""

NUMBERS = {
    "test_images": "test images",
    "test_errors": "test images that are not classified as labelled",
    "test_accuracy": "share of test images classified as labelled",
    "macro_precision": "precision, mean over the classes",
    "macro_recall": "recall, mean over the classes",
    "macro_f1": "F1, mean over the classes",
    "parameters": "parameters of the network",
    "steps": "training steps",
    "train_images": "training images",
    "validation_images": "images held out of the training for validation",
    "train_accuracy": "share of training images classified as labelled",
    "validation_accuracy": "share of the held-out images classified as labelled, at the best step",
    "validation_loss": "loss on the held-out images, at the best step (nats)",
    "final_loss": "training loss at the end (nats)",
    "best_step": "training step whose network was kept",
    "best_epoch": "the same in epochs",
    "stopped_early": "whether the training ended before its last epoch",
    "train_seconds": "time of the training (s)",
}
