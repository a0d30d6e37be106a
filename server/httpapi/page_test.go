package httpapi_test

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"kabel/server/httpapi"
)

func TestPageIsSentPacked(t *testing.T) {
	script := strings.Repeat("let a = 1;\n", 1000)
	files := fstest.MapFS{
		"index.html":      {Data: []byte("<!doctype html>")},
		"assets/a.js":     {Data: []byte(script)},
		"assets/f.woff2":  {Data: []byte(strings.Repeat("wOF2", 1000))},
		"assets/tiny.css": {Data: []byte("a{}")},
	}
	srv := httptest.NewServer(httpapi.New(httpapi.Options{Page: files, Log: slog.New(slog.DiscardHandler), Version: "test"}))
	defer srv.Close()
	for _, c := range []struct{ path, accept, encoding, cache string }{
		{"/assets/a.js", "gzip, br", "gzip", "public, max-age=31536000, immutable"},
		{"/assets/a.js", "", "", "public, max-age=31536000, immutable"},
		{"/assets/a.js", "gzip;q=0", "", "public, max-age=31536000, immutable"},
		{"/assets/f.woff2", "gzip", "", "public, max-age=31536000, immutable"}, // packed already
		{"/assets/tiny.css", "gzip", "", "public, max-age=31536000, immutable"},
		{"/", "gzip", "", ""},
	} {
		req, err := http.NewRequest("GET", srv.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", c.accept) // set by us, Go leaves the body as it came
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body io.Reader = res.Body
		if res.Header.Get("Content-Encoding") == "gzip" {
			if body, err = gzip.NewReader(res.Body); err != nil {
				t.Fatal(err)
			}
		}
		got, err := io.ReadAll(body)
		res.Body.Close()
		want := files[strings.TrimPrefix(c.path, "/")]
		if c.path == "/" {
			want = files["index.html"]
		}
		if err != nil || string(got) != string(want.Data) {
			t.Errorf("%s: another text (%v)", c.path, err)
		}
		if e, k := res.Header.Get("Content-Encoding"), res.Header.Get("Cache-Control"); e != c.encoding || k != c.cache {
			t.Errorf("%s for %q: encoding %q, cache %q", c.path, c.accept, e, k)
		}
	}
}

// TestOpenerIsCutOffWhereBrowsersHeedIt: on a plain-HTTP classroom network the
// header would only be a complaint on every learner's console.
func TestOpenerIsCutOffWhereBrowsersHeedIt(t *testing.T) {
	s := httpapi.New(httpapi.Options{Page: fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}}, Log: slog.New(slog.DiscardHandler)})
	for _, c := range []struct {
		url, proto string
		cut        bool
	}{
		{"http://127.0.0.1:8080/", "", true},
		{"http://[::1]:8080/", "", true},
		{"http://localhost:8080/", "", true},
		{"http://kabel.localhost/", "", true},
		{"https://kabel.example/", "", true},
		{"http://kabel.example/", "https", true},
		{"http://kabel.example/", "", false},
		{"http://10.0.0.5:8080/", "", false},
		{"http://localhost.example/", "", false},
	} {
		r := httptest.NewRequest("GET", c.url, nil)
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		if got := w.Header().Get("Cross-Origin-Opener-Policy") != ""; got != c.cut {
			t.Errorf("%s (forwarded: %q): cut off %v, want %v", c.url, c.proto, got, c.cut)
		}
	}
}
