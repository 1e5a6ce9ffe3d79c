"""The web inbox: the pages of an agency without a platform, on the verbs that the API uses."""
