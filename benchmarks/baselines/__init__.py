"""What the broker is compared with: each written as its own users would write it, and tuned as they would tune it."""
