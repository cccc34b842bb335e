"""The page of `bascule ui`: markup.py (text -> HTML), document.py (what is known -> the page)."""
