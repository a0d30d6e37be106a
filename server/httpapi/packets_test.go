//lint:file-ignore SA1019 the library of choice; see stream.go

package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"nhooyr.io/websocket"
)

// packets opens the websocket of a session's packets; read waits for a message of
// a type.
func (a *api) packets(path, key, query string) (conn *websocket.Conn, read func(kind string) map[string]any) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	a.t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, a.url+path+"/packets"+query, &websocket.DialOptions{HTTPClient: a.c, HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(-1)
	return conn, func(kind string) map[string]any {
		a.t.Helper()
		for {
			_, b, err := conn.Read(ctx)
			if err != nil {
				a.t.Fatalf("wait for %q: %v", kind, err)
			}
			var m map[string]any
			if err := json.Unmarshal(b, &m); err != nil {
				a.t.Fatalf("%s: %v", b, err)
			}
			if m["type"] == kind {
				return m
			}
		}
	}
}

func (a *api) ping(path, key, from, to string) map[string]any {
	a.t.Helper()
	status, _, out := a.do("POST", path+"/probes", key, map[string]any{"from": from, "kind": "ping", "to": to})
	if status != 200 {
		a.t.Fatalf("ping: %d %v", status, out)
	}
	return out
}

// A ping is asked for, seen as rows, and looked into.
func TestPackets(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	conn, read := a.packets(path, key, "")
	if m := read("start"); m["resumed"] != false || m["snap"] == 0.0 {
		t.Errorf("%v", m)
	}
	result := a.ping(path, key, "host1", "127.0.0.1")
	journeys, _ := result["journeys"].([]any)
	if result["ok"] != true || len(journeys) != 2 {
		t.Errorf("the probe tells of %d packets: %v", len(journeys), result)
	}
	rows := map[float64]map[string]any{}
	var seq float64
	for rows[1]["state"] != "answered" {
		m := read("batch")
		seq = m["seq"].(float64)
		for _, r := range m["rows"].([]any) {
			rows[r.(map[string]any)["id"].(float64)] = r.(map[string]any)
		}
	}
	first := rows[1]["sightings"].([]any)[0].(map[string]any)
	if rows[1]["protocol"] != "ICMP" || first["node"] != "host1" || first["link"] != "lo" {
		t.Errorf("%v", rows)
	}

	status, _, p := a.do("GET", fmt.Sprintf("%s/packets/%v", path, first["no"]), key, nil)
	layers, _ := p["layers"].([]any)
	if status != 200 || p["node"] != "host1" || len(layers) < 3 || p["data"] == "" {
		t.Errorf("%d %v", status, p)
	}
	if status, _, p := a.do("GET", path+"/packets/4711", key, nil); status != 404 || p["code"] != "no-such-packet" {
		t.Errorf("a packet that never was: %d %v", status, p)
	}

	say := func(m string) {
		t.Helper()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	say(`{"type":"filter","filter":"icpm"}`)
	if m := read("filter-error"); m["position"] != 0.0 || m["message"] == "" {
		t.Errorf("%v", m)
	}
	say(`{"type":"filter","filter":"arp"}`)
	if m := read("start"); m["filter"] != "arp" {
		t.Errorf("%v", m)
	}
	say(`{"type":"pause"}`)
	read("paused")
	say(`{"type":"resume"}`)

	// Who comes back goes on.
	conn.CloseNow()
	_, again := a.packets(path, key, fmt.Sprintf("?after=%.0f", seq))
	if m := again("start"); m["resumed"] != true {
		t.Errorf("%v", m)
	}
	// When the session is over, its viewers are told.
	if status, _, out := a.do("DELETE", path, key, nil); status != 204 {
		t.Fatal(status, out)
	}
	if m := again("ended"); m["reason"] != "closed" {
		t.Errorf("%v", m)
	}
}

func TestAMessageThatMakesNoSenseEndsThePackets(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	conn, read := a.packets(path, key, "")
	read("start")
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"open-sesame"}`)); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("got %v", err)
	}
}

// record reads a recording until the pinged packets are in it.
func TestARecordingIsAPcapngFile(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", a.url+path+"/capture.pcapng?filter="+url.QueryEscape("icmp and host 127.0.0.1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := a.c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Content-Disposition"), ".pcapng") {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	var file bytes.Buffer
	if _, err := io.CopyN(&file, res.Body, 12); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file.Bytes()[:4], []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		t.Errorf("it begins with % x", file.Bytes())
	}
	a.ping(path, key, "host1", "127.0.0.1")
	for !bytes.Contains(file.Bytes(), []byte("host1:lo")) {
		if _, err := io.CopyN(&file, res.Body, 4); err != nil {
			t.Fatalf("%v, after %q", err, file.Bytes())
		}
	}
}

// What the list has can be taken home as a file.
func TestTheKeptPacketsAreAFile(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	a.ping(path, key, "host1", "127.0.0.1")
	for query, want := range map[string]bool{"": true, "&filter=icmp&node=host1&link=lo": true, "&filter=arp": false, "&node=sw": false, "&link=eth7": false} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", a.url+path+"/capture.pcapng?kept=true"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := a.c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || !bytes.HasPrefix(b, []byte{0x0a, 0x0d, 0x0d, 0x0a}) || bytes.Contains(b, []byte("host1:lo")) != want {
			t.Errorf("%q: %d, %v, %q", query, res.StatusCode, err, b)
		}
	}
	if status, _, out := a.do("GET", path+"/capture.pcapng?kept=true&filter=icpm", key, nil); status != 422 || out["code"] != "bad-filter" {
		t.Errorf("a wrong filter: %d %v", status, out)
	}
}

func TestWrongRecordings(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	for query, want := range map[string]struct {
		status int
		code   string
	}{
		"filter=icmp+adn+arp":                 {422, "bad-filter"},
		"node=host7":                          {404, "no-such-node"},
		"snap=0":                              {422, "bad-request"},
		"snap=65536":                          {422, "bad-request"},
		"seconds=x":                           {422, "bad-request"},
		"seconds=3601":                        {422, "bad-request"},
		"filter=" + strings.Repeat("x", 3000): {422, "bad-request"},
	} {
		status, _, out := a.do("GET", path+"/capture.pcapng?"+query, key, nil)
		if status != want.status || out["code"] != want.code || out["detail"] == "" {
			t.Errorf("%.40s: %d %v", query, status, out)
		}
	}
	if _, _, out := a.do("GET", path+"/capture.pcapng?filter=icmp+adn+arp", key, nil); out["column"] != 6.0 {
		t.Errorf("the mistake is at %v", out)
	}
}

// Each recording costs the kernel a ring for every namespace.
func TestTooManyRecordings(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	for i := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", a.url+path+"/capture.pcapng", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := a.c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if want := map[bool]int{true: 200, false: 409}[i < 4]; res.StatusCode != want {
			t.Errorf("recording %d: %d", i+1, res.StatusCode)
		}
	}
}

// Packets come to those who look at their own session and to nobody else.
func TestPacketsOfItsOwnSessionOnly(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	ownPath, ownKey := a.start("one-namespace")
	_, theirs := a.packets(path, key, "")
	_, own := a.packets(ownPath, ownKey, "")
	theirs("start")
	own("start")
	a.ping(path, key, "host1", "127.0.0.2")
	theirs("batch")
	a.ping(ownPath, ownKey, "host1", "127.0.0.3")
	for seen := false; !seen; {
		m := own("batch")
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "127.0.0.2") {
			t.Fatalf("the other's packets: %s", b)
		}
		seen = strings.Contains(string(b), "127.0.0.3")
	}
}
