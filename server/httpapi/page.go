package httpapi

import (
	"io/fs"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
)

// page serves the built files; any other path gets index.html only at the root,
// since the page keeps its place behind the hash.
func page(files fs.FS) http.HandlerFunc {
	if files == nil {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				writeProblem(w, r, problem(codeNoRoute, ""))
				return
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Write([]byte("Kabel is running, but this program was built without its page.\nBuild it with Node: make build. The API is at /api/v1/openapi.json.\n"))
		}
	}
	// A classroom loads the page in one moment, often over one radio channel.
	pack, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.CompressionLevel(gzip.BestCompression),
		gzhttp.ContentTypes([]string{"text/html", "text/css", "text/javascript", "image/svg+xml"}))
	if err != nil {
		panic("httpapi: the options of gzhttp: " + err.Error())
	}
	server := pack(http.FileServerFS(files))
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // names carry a hash of the content
		}
		if _, err := fs.Stat(files, strings.TrimPrefix(r.URL.Path, "/")); err != nil && r.URL.Path != "/" {
			writeProblem(w, r, problem(codeNoRoute, ""))
			return
		}
		server.ServeHTTP(w, r)
	}
}
