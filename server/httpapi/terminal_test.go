//lint:file-ignore SA1019 the library of choice; see stream.go

package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"nhooyr.io/websocket"

	"kabel/server/httpapi"
)

// person sits at a terminal, with a page.
type person struct {
	t     *testing.T
	conn  *websocket.Conn
	ctx   context.Context
	first httpapi.TerminalMessage
	last  httpapi.TerminalMessage
	shown bytes.Buffer
}

func (a *api) dial(ctx context.Context, path string, header http.Header) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(ctx, a.url+path, &websocket.DialOptions{HTTPClient: a.c, HTTPHeader: header})
}

func bearer(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }

func (a *api) sit(path, key string) *person {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	a.t.Cleanup(cancel)
	conn, _, err := a.dial(ctx, path, bearer(key))
	if err != nil {
		a.t.Fatalf("%s: %v", path, err)
	}
	a.t.Cleanup(func() { conn.CloseNow() })
	p := &person{t: a.t, conn: conn, ctx: ctx}
	if err := p.next(); err != nil {
		a.t.Fatal(err)
	}
	if p.first = p.last; p.first.Type != "terminal" || p.first.ID == "" {
		a.t.Fatalf("first came %+v", p.first)
	}
	return p
}

// next takes a message.
func (p *person) next() error {
	kind, b, err := p.conn.Read(p.ctx)
	switch {
	case err != nil:
		return err
	case kind == websocket.MessageBinary:
		p.shown.Write(b)
		return nil
	}
	p.last = httpapi.TerminalMessage{}
	return json.Unmarshal(b, &p.last)
}

func (p *person) types(keys string) { p.send(websocket.MessageBinary, keys) }

func (p *person) send(kind websocket.MessageType, s string) {
	p.t.Helper()
	if err := p.conn.Write(p.ctx, kind, []byte(s)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) sees(text string) {
	p.t.Helper()
	for {
		if i := bytes.Index(p.shown.Bytes(), []byte(text)); i >= 0 {
			p.shown.Next(i + len(text))
			return
		}
		if err := p.next(); err != nil {
			p.t.Fatalf("waiting for %q: %v after %q", text, err, p.shown.String())
		}
	}
}

// until waits for a control message.
func (p *person) until(kind string) httpapi.TerminalMessage {
	p.t.Helper()
	for p.last.Type != kind {
		if err := p.next(); err != nil {
			p.t.Fatalf("waiting for %s: %v", kind, err)
		}
	}
	return p.last
}

func TestTerminal(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	if status, _, out := a.do("POST", path+"/ops", key, map[string]any{"node": "host1", "command": "ip netns add kon"}); status != 200 {
		t.Fatal(out)
	}
	p := a.sit(path+"/terminals/host1%2Fkon?rows=33&cols=101", key)
	if p.first.Node != "host1/kon" || p.first.Rows != 33 || p.first.Cols != 101 {
		t.Errorf("first came %+v", p.first)
	}
	p.sees("root@host1[kon]:~# ")
	p.types("echo 한")
	p.types("글\r")
	p.sees("echo 한글\r\n한글\r\n")
	p.send(websocket.MessageText, `{"type":"size","rows":50,"cols":132}`)
	p.types("stty size\r")
	p.sees("50 132\r\n")

	// The connection breaks; the shell and its screen are there again.
	p.conn.CloseNow()
	again := path + "/terminals/host1%2Fkon?window=100&terminal=" + p.first.ID
	p = a.sit(again, key)
	if p.first.Rows != 50 || p.first.Replay == 0 {
		t.Errorf("first came %+v", p.first)
	}
	for p.shown.Len() < min(p.first.Replay, 100) {
		if err := p.next(); err != nil {
			t.Fatal(err)
		}
	}
	if p.shown.Len() > 100 {
		t.Errorf("%d bytes came with a window of 100", p.shown.Len())
	}
	p.send(websocket.MessageText, `{"type":"ack","bytes":100}`)
	p.sees("한글\r\n한글\r\n")
	p.send(websocket.MessageText, `{"type":"ack","bytes":100}`)
	other := a.sit(path+"/terminals/host1%2Fkon?rows=20&cols=60&terminal="+p.first.ID, key)
	if m := p.until("size"); m.Rows != 20 || m.Cols != 60 {
		t.Errorf("told %+v", m)
	}
	other.types("exit 7\r")
	for _, p := range []*person{p, other} {
		if m := p.until("exit"); m.Code == nil || *m.Code != 7 {
			t.Errorf("it ends with %+v", m)
		}
		if err := p.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("hanging up: %v", err)
		}
	}
}

func TestTerminalsAreListedAndEnded(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	p := a.sit(path+"/terminals/host1", key)
	list := func() (out []map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", a.url+path+"/terminals", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = bearer(key)
		res, err := a.c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if l := list(); len(l) != 1 || l[0]["id"] != p.first.ID || l[0]["node"] != "host1" || l[0]["viewers"] != 1.0 || l[0]["rows"] != 24.0 {
		t.Errorf("listed: %v", l)
	}
	one := path + "/terminals/host1?terminal=" + p.first.ID
	if status, _, out := a.do("DELETE", one, key, nil); status != 204 {
		t.Errorf("%d %v", status, out)
	}
	if m := p.until("ended"); m.Reason != "closed" {
		t.Errorf("told %+v", m)
	}
	if status, _, out := a.do("DELETE", one, key, nil); status != 404 || out["code"] != "no-such-terminal" {
		t.Errorf("again: %d %v", status, out)
	}
	if l := list(); len(l) != 0 {
		t.Errorf("listed: %v", l)
	}
	p = a.sit(path+"/terminals/host1", key)
	if status, _, out := a.do("POST", path+"/reset", key, map[string]any{}); status != 200 {
		t.Fatal(out)
	}
	if m := p.until("ended"); m.Reason != "reset" {
		t.Errorf("told %+v", m)
	}
}

func TestTerminalIsGuarded(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	path2, key2 := a.start("one-namespace")
	theirs := a.sit(path2+"/terminals/host1", key2)
	for what, c := range map[string]struct {
		path   string
		header http.Header
		status int
		code   string
	}{
		"no key":                 {path + "/terminals/host1", nil, 401, "unauthorised"},
		"another session's key":  {path + "/terminals/host1", bearer(key2), 404, "no-such-session"},
		"another origin":         {path + "/terminals/host1", http.Header{"Authorization": {"Bearer " + key}, "Origin": {"https://evil.example"}}, 403, ""},
		"no such node":           {path + "/terminals/host9", bearer(key), 404, "no-such-node"},
		"no such namespace":      {path + "/terminals/host1%2Fnope", bearer(key), 404, "no-such-node"},
		"no such terminal":       {path + "/terminals/host1?terminal=nope", bearer(key), 404, "no-such-terminal"},
		"another's terminal":     {path + "/terminals/host1?terminal=" + theirs.first.ID, bearer(key), 404, "no-such-terminal"},
		"a size that is none":    {path + "/terminals/host1?rows=x&cols=80", bearer(key), 422, "bad-request"},
		"a size too large":       {path + "/terminals/host1?rows=24&cols=5000", bearer(key), 422, "bad-request"},
		"half a size":            {path + "/terminals/host1?rows=24", bearer(key), 422, "bad-request"},
		"a window of nothing":    {path + "/terminals/host1?window=0", bearer(key), 422, "bad-request"},
		"a node escaped wrongly": {path + "/terminals/host1%252Fkon", bearer(key), 404, "no-such-node"},
	} {
		t.Run(what, func(t *testing.T) {
			conn, res, err := a.dial(t.Context(), c.path, c.header)
			if err == nil {
				conn.CloseNow()
				t.Fatal("let in")
			}
			var p struct{ Code string }
			if res == nil || res.StatusCode != c.status {
				t.Fatalf("%v", err)
			}
			if c.code != "" {
				if err := json.NewDecoder(res.Body).Decode(&p); err != nil || p.Code != c.code {
					t.Errorf("code %q, %v", p.Code, err)
				}
			}
		})
	}
	if status, _, out := a.do("GET", path+"/terminals/host1", key, nil); status != 426 {
		t.Errorf("without a websocket: %d %v", status, out)
	}
	if status, header, _ := a.do("GET", path+"/terminals", key, nil); status != 200 || !strings.Contains(header.Get("Content-Type"), "json") {
		t.Error(status, header)
	}
	// None of them has left a shell.
	for range 8 {
		a.sit(path+"/terminals/host1", key)
	}
	if _, res, err := a.dial(t.Context(), path+"/terminals/host1", bearer(key)); err == nil || res.StatusCode != 409 {
		t.Errorf("a ninth: %v", err)
	}
}

func TestTerminalOfABadClient(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	for what, message := range map[string]string{
		"no JSON":         "size",
		"no such message": `{"type":"hello"}`,
		"no such size":    `{"type":"size","rows":0,"cols":80}`,
	} {
		p := a.sit(path+"/terminals/host1", key)
		p.send(websocket.MessageText, message)
		var err error
		for err == nil {
			err = p.next()
		}
		if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := a.sit(path+"/terminals/host1", key)
	p.sees("# ")
	p.send(websocket.MessageText, fmt.Sprintf(`{"type":"ack","bytes":%d}`, 1<<50))
	p.types("echo well\r")
	p.sees("echo well\r\nwell\r\n")
}

// TestTerminalsAreCounted: an operator sees how many worlds and shells there are.
func TestTerminalsAreCounted(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	a.sit(path+"/terminals/host1", key)
	res, err := a.c.Get(a.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kabel_sessions 1\n", "kabel_worlds 1\n", "kabel_terminals 1\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
}
