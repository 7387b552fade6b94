"""The live page: `board` holds the newest view of each stream, `server` gives it to browsers, page.* draws it there."""
