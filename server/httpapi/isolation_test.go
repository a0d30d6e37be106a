//lint:file-ignore SA1019 the library of choice; see stream.go

package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"nhooyr.io/websocket"
)

// requests are what one can ask of a session, valid in every other way. Whatever
// the API's description has below a session must be among them.
var requests = []struct {
	method, path string // below /api/v1/sessions/{id}
	body         string
}{
	{"GET", "", ""},
	{"GET", "/topology", ""},
	{"GET", "/stream", ""},
	{"GET", "/terminals", ""},
	{"GET", "/terminals/{node}", ""},
	{"POST", "/reset", "{}"},
	{"PUT", "/language", `{"language":"ko"}`},
	{"POST", "/steps/{step}/apply", ""},
	{"GET", "/steps/{step}/changes", ""},
	{"POST", "/steps/{step}/predict", `{"choice":"a"}`},
	{"POST", "/steps/{step}/hint", ""},
	{"POST", "/ops", `{"node":"host1","command":"ip netns add intruder"}`},
	{"POST", "/exec", `{"node":"host1","argv":["ip","netns","add","intruder"]}`},
	{"POST", "/probes", `{"from":"host1","kind":"ping","to":"127.0.0.1"}`},
	{"GET", "/packets", ""},
	{"GET", "/lab", ""},
	{"GET", "/packets/{no}", ""},
	{"GET", "/capture.pcapng", ""},
	{"DELETE", "/terminals/{node}", ""},
	{"DELETE", "", ""},
}

// keys are what an intruder may bring who has a session of their own.
func keys(victim, own, key string) map[string]http.Header {
	cookie := func(id, value string) string { return "kabel_" + url.PathEscape(id) + "=" + value }
	return map[string]http.Header{
		"nothing":                                {},
		"their own key":                          {"Authorization": {"Bearer " + key}},
		"their own cookie":                       {"Cookie": {cookie(own, key)}},
		"their own key in a cookie of that name": {"Cookie": {cookie(victim, key)}},
		"both":                                   {"Authorization": {"Bearer " + key}, "Cookie": {cookie(victim, key), cookie(own, key)}},
		"an empty key":                           {"Authorization": {"Bearer "}, "Cookie": {cookie(victim, "")}},
		"the session's name":                     {"Authorization": {"Bearer " + victim}, "Cookie": {cookie(victim, victim)}},
		"no scheme":                              {"Authorization": {key}},
		"a pattern":                              {"Authorization": {"Bearer *"}, "Cookie": {cookie(victim, "%")}},
		"two headers of which one has their key": {"Authorization": {"Bearer x", "Bearer " + key}},
		"their key, and the victim's name beside": {"Authorization": {"Bearer " + key}, "X-Session": {victim}, "X-Original-Url": {"/api/v1/sessions/" + victim}},
	}
}

// TestNoSessionReachesAnother sends everything that one can ask of a session with
// everything that a stranger can have.
func TestNoSessionReachesAnother(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	ownPath, ownKey := a.start("one-namespace")
	victim, own := strings.TrimPrefix(path, "/api/v1/sessions/"), strings.TrimPrefix(ownPath, "/api/v1/sessions/")
	_, _, before := a.do("GET", path, key, nil)
	_, _, topology := a.do("GET", path+"/topology", key, nil)
	step := before["current"].(string)
	fill := strings.NewReplacer("{step}", url.PathEscape(step), "{node}", "host1", "{no}", "1")

	paths := map[string]string{
		"its path":                 path,
		"with its name in escapes": "/api/v1/sessions/" + fmt.Sprintf("%%%02x", victim[0]) + victim[1:],
		"by way of their own":      ownPath + "/../" + victim,
		"so, in escapes":           ownPath + "%2f..%2f" + victim,
		"doubled":                  "/api/v1/sessions//" + victim,
	}
	for where, base := range paths {
		for what, header := range keys(victim, own, ownKey) {
			for _, r := range requests {
				req, err := http.NewRequestWithContext(t.Context(), r.method, a.url, strings.NewReader(r.body))
				if err != nil {
					t.Fatal(err)
				}
				raw, err := url.PathUnescape(base + fill.Replace(r.path))
				if err != nil {
					t.Fatal(err)
				}
				req.URL.Path, req.URL.RawPath, req.URL.RawQuery = raw, base+fill.Replace(r.path), "token="+ownKey+"&key="+ownKey
				req.Header = header.Clone()
				req.Header.Set("Content-Type", "application/json")
				if r.path == "/stream" || r.path == "/packets" || strings.HasPrefix(r.path, "/terminals") {
					for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
						req.Header.Set(k, v)
					}
				}
				res, err := a.c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != 401 && res.StatusCode != 404 && res.StatusCode != 405 {
					t.Errorf("%s %s, %s, with %s: %d %.200s", r.method, r.path, where, what, res.StatusCode, answer)
				}
				if strings.Contains(string(answer), key) || strings.Contains(string(answer), `"nodes"`) {
					t.Errorf("%s %s, %s, with %s: the answer tells of the session: %.300s", r.method, r.path, where, what, answer)
				}
			}
		}
	}
	if status, _, out := a.do("GET", "/api/v1/sessions", ownKey, nil); status != 405 && status != 404 {
		t.Errorf("a list of all sessions: %d %v", status, out)
	}

	_, _, after := a.do("GET", path, key, nil)
	if !reflect.DeepEqual(before, after) {
		t.Errorf("the session was changed:\n%v\n%v", before, after)
	}
	if _, _, now := a.do("GET", path+"/topology", key, nil); !reflect.DeepEqual(topology["nodes"], now["nodes"]) {
		t.Errorf("its world was changed:\n%v\n%v", topology, now)
	}
	if status, _, out := a.do("GET", ownPath, ownKey, nil); status != 200 {
		t.Errorf("the intruder's own session: %d %v", status, out)
	}
}

// TestEveryRouteOfASessionIsTried keeps the table above complete.
func TestEveryRouteOfASessionIsTried(t *testing.T) {
	a := newAPI(t)
	_, _, doc := a.do("GET", "/api/v1/openapi.json", "", nil)
	found := 0
	for path, ops := range doc["paths"].(map[string]any) {
		below, ok := strings.CutPrefix(path, "/api/v1/sessions/{id}")
		if !ok {
			continue
		}
		for method := range ops.(map[string]any) {
			found++
			tried := false
			for _, r := range requests {
				tried = tried || strings.EqualFold(r.method, method) && r.path == below
			}
			if !tried {
				t.Errorf("%s %s is not in the table of requests", strings.ToUpper(method), path)
			}
		}
	}
	if found < 9 {
		t.Errorf("only %d routes were found: was the description read?", found)
	}
}

// TestAStreamTellsOfItsOwnSessionOnly: what happens in one world comes to those
// who watch it and to nobody else, and the key to nobody at all.
func TestAStreamTellsOfItsOwnSessionOnly(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	ownPath, ownKey := a.start("one-namespace")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, a.url+ownPath+"/stream", &websocket.DialOptions{HTTPClient: a.c, HTTPHeader: http.Header{"Authorization": {"Bearer " + ownKey}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	for _, of := range []struct{ path, key, name string }{{path, key, "secret"}, {ownPath, ownKey, "mine"}} {
		for _, request := range []struct {
			to   string
			body map[string]any
		}{
			{"/ops", map[string]any{"node": "host1", "command": "ip netns add " + of.name}},
			{"/probes", map[string]any{"from": "host1/" + of.name, "kind": "ping", "to": "127.0.0.1"}},
		} {
			if status, _, out := a.do("POST", of.path+request.to, of.key, request.body); status != 200 {
				t.Fatalf("%s: %d %v", request.to, status, out)
			}
		}
	}
	var heard strings.Builder
	for !strings.Contains(heard.String(), `"probe"`) || !strings.Contains(heard.String(), "host1/mine") {
		_, b, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("%v, after %s", err, heard.String())
		}
		heard.Write(b)
	}
	for what, text := range map[string]string{"the other's namespace": "secret", "the other's name": strings.TrimPrefix(path, "/api/v1/sessions/"), "the other's key": key, "its own key": ownKey} {
		if strings.Contains(heard.String(), text) {
			t.Errorf("the stream tells %s: %s", what, heard.String())
		}
	}
}

// TestTheCookieIsForItsSessionOnly: no script reads it, no other site sends it, and
// the browser brings it to its own session's paths only.
func TestTheCookieIsForItsSessionOnly(t *testing.T) {
	a := newAPI(t)
	status, header, out := a.do("POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace"})
	if status != http.StatusCreated {
		t.Fatal(status, out)
	}
	cookies := (&http.Response{Header: header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies: %v", cookies)
	}
	c := cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != header.Get("Location") || c.Domain != "" || c.Value != out["token"] {
		t.Errorf("%+v", c)
	}
	if len(c.Value) < 43 { // 256 bits
		t.Errorf("a key of %d characters", len(c.Value))
	}
}
