"""The door for originators: submit a referral, follow it, read its answers, take it back."""
