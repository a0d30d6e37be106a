//lint:file-ignore SA1019 the library of choice; see stream.go

package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"nhooyr.io/websocket"

	"kabel/server/httpapi"
	"kabel/server/session"
)

// TestStream: session and snapshot first, then diffs that lead to what
// GET topology says.
func TestStream(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, a.url+path+"/stream", &websocket.DialOptions{HTTPClient: a.c, HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	read := func() httpapi.Message {
		_, b, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var m httpapi.Message
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := read(); m.Type != "session" {
		t.Fatalf("first came %q", m.Type)
	}
	m := read()
	if m.Type != "snapshot" {
		t.Fatalf("then came %q", m.Type)
	}
	seen := *m.Snapshot
	for _, command := range []string{"ip netns add kon", "ip link add veth1 type veth peer name veth2", "ip link set veth2 netns kon"} {
		if status, _, out := a.do("POST", path+"/ops", key, map[string]any{"node": "host1", "command": command}); status != 200 {
			t.Fatalf("%s: %d %v", command, status, out)
		}
	}
	for seen.Node("host1/kon") == nil || seen.Node("host1/kon").Link("veth2") == nil {
		switch m := read(); m.Type {
		case "diff":
			if seen, err = m.Diff.Apply(seen); err != nil {
				t.Fatal(err)
			}
		case "snapshot":
			seen = *m.Snapshot
		}
	}
	if status, _, _ := a.do("DELETE", path, key, nil); status != 204 {
		t.Fatal(status)
	}
	for {
		if m := read(); m.Type == "ended" {
			break
		}
	}
}

// TestWhoIsAwayIsNotThere: a viewer who says so does not keep the world; what
// makes no sense ends the connection.
func TestWhoIsAwayIsNotThere(t *testing.T) {
	a := newAPI(t, func(o *session.Options) { o.Idle = 20 * time.Millisecond })
	path, key := a.start("one-namespace")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, a.url+path+"/stream", &websocket.DialOptions{HTTPClient: a.c, HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	for _, m := range []string{`{"type":"here"}`, `{"type":"away"}`, `{"type":"away"}`} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	for parked := false; !parked; {
		_, b, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var m httpapi.Message
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		parked = m.Type == "session" && m.Session.State == session.StateParked
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"somewhere"}`)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = conn.Read(ctx)
	}
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("nonsense: %v", err)
	}
}

// TestStreamIsGuarded: a stream needs the session's key and our own origin.
func TestStreamIsGuarded(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	for name, h := range map[string]http.Header{
		"no key":       {},
		"wrong key":    {"Authorization": {"Bearer nope"}},
		"other origin": {"Authorization": {"Bearer " + key}, "Origin": {"https://evil.example"}},
	} {
		conn, _, err := websocket.Dial(t.Context(), a.url+path+"/stream", &websocket.DialOptions{HTTPClient: a.c, HTTPHeader: h})
		if err == nil {
			conn.CloseNow()
			t.Errorf("%s: let in", name)
		}
	}
	req, _ := http.NewRequest("POST", a.url+"/api/v1/sessions", strings.NewReader(`{"lab":"one-namespace"}`))
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := a.c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a cross-site POST got %d", res.StatusCode)
	}
}
