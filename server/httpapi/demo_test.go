//lint:file-ignore SA1019 the library of choice; see stream.go

package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"nhooyr.io/websocket"

	"kabel/server/httpapi"
	"kabel/server/session"
)

// listen reads the messages of a websocket until ok, which gets each.
func (a *api) listen(path string, ok func(kind string, m []byte) bool) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, a.url+path, &websocket.DialOptions{HTTPClient: a.c})
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			a.t.Fatal(err)
		}
		var m struct{ Type string }
		if err := json.Unmarshal(b, &m); err != nil {
			a.t.Fatal(err)
		}
		if ok(m.Type, b) {
			return
		}
	}
}

// TestDemo: without any key there is a world that builds itself; its messages are
// those of a session, and the lab that it plays has texts.
func TestDemo(t *testing.T) {
	a := newAPI(t)
	var kinds []string
	var first httpapi.Message
	a.listen("/api/v1/demo/stream", func(kind string, b []byte) bool {
		kinds = append(kinds, kind)
		if len(kinds) == 1 {
			if err := json.Unmarshal(b, &first); err != nil {
				t.Fatal(err)
			}
		}
		return kind == "probe"
	})
	if kinds[0] != "session" || kinds[1] != "snapshot" || !slices.Contains(kinds, "diff") || first.Session.Lab != "demo" || len(first.Session.Steps) < 4 {
		t.Errorf("%v %+v", kinds, first.Session)
	}
	a.listen("/api/v1/demo/packets?filter=icmp", func(kind string, b []byte) bool {
		return kind == "batch" && strings.Contains(string(b), "172.16.1.2")
	})
	status, _, lab := a.do("GET", "/api/v1/labs/demo", "", nil)
	steps, _ := lab["steps"].([]any)
	if status != 200 || len(steps) != len(first.Session.Steps) || lab["title"] == "" {
		t.Errorf("its texts: %d %v", status, lab)
	}
}

// TestTheDemoIsOnlyLookedAt: no other verb, no key that would open more, no page
// of another site.
func TestTheDemoIsOnlyLookedAt(t *testing.T) {
	a := newAPI(t)
	var id string
	a.listen("/api/v1/demo/stream", func(kind string, b []byte) bool {
		var m httpapi.Message
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		id = m.Session.ID
		return true
	})
	_, key := a.start("one-namespace")
	for _, c := range []struct {
		method, path, key string
		body              any
		status            int
	}{
		{"POST", "/api/v1/demo/stream", "", nil, 405},
		{"DELETE", "/api/v1/demo/stream", "", nil, 405},
		{"POST", "/api/v1/demo/packets", "", nil, 405},
		{"GET", "/api/v1/demo", "", nil, 404},
		{"POST", "/api/v1/demo/ops", "", nil, 405},
		{"GET", "/api/v1/demo/topology", "", nil, 404},
		{"GET", "/api/v1/demo/stream", "", nil, 426},
		{"GET", "/api/v1/demo/packets?after=x", "", nil, 422},
		{"GET", "/api/v1/demo/packets?filter=" + strings.Repeat("x", 2001), "", nil, 422},
		{"GET", "/api/v1/sessions/" + id, "", nil, 401},
		{"GET", "/api/v1/sessions/" + id, key, nil, 404},
		{"POST", "/api/v1/sessions/" + id + "/ops", key, map[string]any{"node": "host1", "command": "ip netns add x"}, 404},
		{"POST", "/api/v1/sessions", "", map[string]any{"lab": "demo"}, 404},
	} {
		if status, _, out := a.do(c.method, c.path, c.key, c.body); status != c.status {
			t.Errorf("%s %.60s: %d %v, not %d", c.method, c.path, status, out, c.status)
		}
	}
	for _, path := range []string{"stream", "packets"} {
		_, res, err := websocket.Dial(t.Context(), a.url+"/api/v1/demo/"+path, &websocket.DialOptions{HTTPClient: a.c, HTTPHeader: http.Header{"Origin": {"http://elsewhere.example"}}})
		if err == nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("%s for another site: %v", path, err)
		}
	}
}

// TestNoDemo: the reason is a message, as a session's end is.
func TestNoDemo(t *testing.T) {
	a := newAPI(t, func(o *session.Options) { o.MaxSessions = 1 })
	a.start("one-namespace")
	for _, path := range []string{"stream", "packets"} {
		a.listen("/api/v1/demo/"+path, func(kind string, b []byte) bool {
			if want := `{"type":"ended","reason":"full"}`; string(b) != want {
				t.Errorf("%s: %s", path, b)
			}
			return true
		})
	}
}
