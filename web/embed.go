// Package web carries the page that Vite built into dist. It holds files only
// and must not know HTTP.
package web

import (
	"embed"
	"io/fs"
)

// dist always has a .keep, so that this compiles where no page was built.
//
//go:embed all:dist
var dist embed.FS

// Files are the page's files with index.html at the root. They are false where
// the page was not built (no Node at build time).
func Files() (fs.FS, bool) {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, false
	}
	_, err = fs.Stat(files, "index.html")
	return files, err == nil
}
