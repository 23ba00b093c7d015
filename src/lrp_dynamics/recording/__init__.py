"""Recordings: `relevance.h5` written while a network trains, read, joined and recovered."""
