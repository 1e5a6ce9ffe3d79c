"""Commands that come in groups, a file each; they import what they need when they run: `gain --help` is quick."""
