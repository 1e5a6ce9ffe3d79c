"""How long referrals are kept, and their end: groups and review dates, legal holds, reviews, disposal."""
