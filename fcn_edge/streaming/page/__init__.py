"""The live page: `board` has the newest view of each stream, `server` sends it to browsers, page.* draws it."""
