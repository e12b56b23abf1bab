"""Speed against peers and limits, one file per question."""
