package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
	"kabel/server/httpapi"
	"kabel/server/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is a server on the in-memory Model and a client of it.
type api struct {
	t   *testing.T
	url string
	c   *http.Client
}

// builtIn loads the labs once: a catalog does not change.
var builtIn = sync.OnceValues(labs.BuiltIn)

func newAPI(t *testing.T, change ...func(*session.Options)) *api {
	t.Helper()
	catalog, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	model := host.NewModel()
	o := session.Options{Host: model, Labs: catalog, Records: &session.Memory{}, Log: log}
	for _, c := range change {
		c(&o)
	}
	reg, err := session.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	page := fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}, "assets/a.js": {Data: []byte("1")}}
	srv := httptest.NewServer(httpapi.New(httpapi.Options{Sessions: reg, Page: page, Log: log, Version: "test"}))
	a := &api{t: t, url: srv.URL, c: srv.Client()}
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// do sends a request and decodes the answer.
func (a *api) do(method, path, key string, in any) (status int, header http.Header, out map[string]any) {
	a.t.Helper()
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case string:
		body = strings.NewReader(v)
	default:
		b, err := json.Marshal(v)
		if err != nil {
			a.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := a.c.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if strings.Contains(res.Header.Get("Content-Type"), "json") && bytes.HasPrefix(b, []byte("{")) {
		if err := json.Unmarshal(b, &out); err != nil {
			a.t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
	return res.StatusCode, res.Header, out
}

func (a *api) start(lab string) (path, key string) {
	a.t.Helper()
	status, header, out := a.do("POST", "/api/v1/sessions", "", map[string]any{"lab": lab})
	if status != http.StatusCreated {
		a.t.Fatalf("create: %d %v", status, out)
	}
	if header.Get("Location") != "/api/v1/sessions/"+out["id"].(string) {
		a.t.Errorf("Location %q", header.Get("Location"))
	}
	return header.Get("Location"), out["token"].(string)
}

// TestBadInput: every mistake gets its own clear problem, and the world is
// unharmed by all of them.
func TestBadInput(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	_, other := a.start("one-namespace")
	_, _, before := a.do("GET", path+"/topology", key, nil)
	big := `{"node":"host1","command":"` + strings.Repeat("x", httpapi.MaxBody) + `"}`
	cases := []struct {
		name, method, path, key string
		body                    any
		status                  int
		code                    string
	}{
		{"unknown lab", "POST", "/api/v1/sessions", "", map[string]any{"lab": "nope"}, 404, "no-such-lab"},
		{"unknown variant", "POST", "/api/v1/sessions", "", map[string]any{"lab": "one-namespace", "variant": "nope"}, 404, "no-such-variant"},
		{"unknown lab's text", "GET", "/api/v1/labs/nope", "", nil, 404, "no-such-lab"},
		{"neither a lab nor free play", "POST", "/api/v1/sessions", "", map[string]any{"language": "en"}, 422, "bad-request"},
		{"a lab and free play", "POST", "/api/v1/sessions", "", `{"lab":"bridge","free":{"hosts":1,"join":"switch"}}`, 422, "bad-request"},
		{"free play without hosts", "POST", "/api/v1/sessions", "", `{"free":{"hosts":0,"join":"switch"}}`, 422, "bad-request"},
		{"free play with too many hosts", "POST", "/api/v1/sessions", "", `{"free":{"hosts":7,"join":"switch"}}`, 422, "bad-request"},
		{"free play with half a host", "POST", "/api/v1/sessions", "", `{"free":{"hosts":1.5,"join":"switch"}}`, 422, "bad-request"},
		{"free play joined by nothing", "POST", "/api/v1/sessions", "", `{"free":{"hosts":2}}`, 422, "bad-request"},
		{"free play joined by a hub", "POST", "/api/v1/sessions", "", `{"free":{"hosts":2,"join":"hub"}}`, 422, "bad-request"},
		{"free play with what there is not", "POST", "/api/v1/sessions", "", `{"free":{"hosts":2,"join":"switch","printer":true}}`, 422, "bad-request"},
		{"a variant of free play that is none", "GET", "/api/v1/labs/free-play?variant=9-switch", "", nil, 404, "no-such-variant"},
		{"malformed JSON", "POST", "/api/v1/sessions", "", `{"lab":`, 400, "bad-request"},
		{"wrong type", "POST", "/api/v1/sessions", "", `{"lab":7}`, 422, "bad-request"},
		{"unknown field", "POST", "/api/v1/sessions", "", `{"lab":"one-namespace","host":"/etc"}`, 422, "bad-request"},
		{"no body", "POST", "/api/v1/sessions", "", nil, 400, "bad-request"},
		{"huge body", "POST", path + "/ops", key, big, 413, "too-large"},
		{"no token", "GET", path, "", nil, 401, "unauthorised"},
		{"a token that is not the session's", "GET", path, other, nil, 404, "no-such-session"},
		{"unknown session", "GET", "/api/v1/sessions/abcdefghijkl", key, nil, 404, "no-such-session"},
		{"unknown step", "POST", path + "/steps/nope/apply", key, nil, 404, "no-such-step"},
		{"unknown step to reset to", "POST", path + "/reset", key, map[string]any{"step": "nope"}, 404, "no-such-step"},
		{"unknown node", "POST", path + "/ops", key, map[string]any{"node": "host9", "command": "ip link set lo up"}, 404, "no-such-node"},
		{"unknown namespace", "POST", path + "/ops", key, map[string]any{"node": "host1/nope", "command": "ip link set lo up"}, 404, "no-such-node"},
		{"unknown command", "POST", path + "/ops", key, map[string]any{"node": "host1", "command": "rm -rf /"}, 422, "bad-command"},
		{"command with a mistake", "POST", path + "/ops", key, map[string]any{"node": "host1", "command": "ip link set nope upp"}, 422, "bad-command"},
		{"op that the kernel refuses", "POST", path + "/ops", key, map[string]any{"node": "host1", "command": "ip link set nope up"}, 409, "op-failed"},
		{"exec without argv", "POST", path + "/exec", key, map[string]any{"node": "host1", "argv": []string{}}, 422, "bad-request"},
		{"exec on an unknown node", "POST", path + "/exec", key, map[string]any{"node": "x", "argv": []string{"true"}}, 404, "no-such-node"},
		{"probe of an unknown kind", "POST", path + "/probes", key, map[string]any{"from": "host1", "kind": "smoke", "to": "10.0.0.1"}, 422, "bad-request"},
		{"probe to a host's name outside", "POST", path + "/probes", key, map[string]any{"from": "host1", "kind": "ping", "to": "no address"}, 422, "invalid"},
		{"too many probes", "POST", path + "/probes", key, map[string]any{"from": "host1", "kind": "ping", "to": "10.0.0.1", "count": 11}, 422, "bad-request"},
		{"wrong method", "PUT", path, key, nil, 405, "method-not-allowed"},
		{"no such page", "GET", "/nope", "", nil, 404, "no-such-page"},
		{"out of the page's files", "GET", "/../go.mod", "", nil, 404, "no-such-page"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := &api{t: t, url: a.url, c: a.c}
			status, header, out := a.do(c.method, c.path, c.key, c.body)
			if status != c.status || out["code"] != c.code {
				t.Errorf("%d %v, want %d %s", status, out, c.status, c.code)
			}
			if ct := header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("Content-Type %q", ct)
			}
			if out["title"] == "" || out["detail"] == "" {
				t.Errorf("a problem without words: %v", out)
			}
		})
	}
	_, _, after := a.do("GET", path+"/topology", key, nil)
	if fmt.Sprint(before["nodes"]) != fmt.Sprint(after["nodes"]) {
		t.Errorf("the world was changed:\n%v\n%v", before, after)
	}
}

// TestOrder: steps come one after the other, and what was done is told.
func TestOrder(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	_, _, v := a.do("GET", path, key, nil)
	steps := v["steps"].([]any)
	id := func(i int) string { return steps[i].(map[string]any)["id"].(string) }
	if status, _, out := a.do("POST", path+"/steps/"+id(1)+"/apply", key, nil); status != 409 || out["code"] != "step-out-of-order" || !strings.Contains(fmt.Sprint(out["detail"]), id(0)) {
		t.Errorf("out of order: %d %v", status, out)
	}
	status, _, out := a.do("POST", path+"/steps/"+id(0)+"/apply", key, nil)
	if status != 200 || out["current"] != id(1) {
		t.Fatalf("apply: %d %v", status, out)
	}
	if status, _, out := a.do("POST", path+"/steps/"+id(0)+"/apply", key, nil); status != 409 || out["code"] != "step-done" {
		t.Errorf("again: %d %v", status, out)
	}
	if status, _, out := a.do("POST", path+"/reset", key, nil); status != 200 || out["current"] != id(0) {
		t.Errorf("reset: %d %v", status, out)
	}
	if status, _, _ := a.do("DELETE", path, key, nil); status != 204 {
		t.Errorf("delete: %d", status)
	}
	if status, _, _ := a.do("GET", path, key, nil); status != 404 {
		t.Errorf("after delete: %d", status)
	}
}

// TestPredict: an answer is kept before the step and judged after it.
func TestPredict(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	first := path + "/steps/namespace/"
	if status, _, out := a.do("POST", first+"predict", key, map[string]any{"choice": "nonsense"}); status != 422 || out["code"] != "no-such-choice" {
		t.Errorf("a choice that is none: %d %v", status, out)
	}
	if status, _, out := a.do("POST", first+"predict", key, map[string]any{"choice": "only-lo"}); status != 200 {
		t.Fatalf("predict: %d %v", status, out)
	}
	_, _, out := a.do("POST", first+"apply", key, nil)
	prediction := out["steps"].([]any)[0].(map[string]any)["prediction"].(map[string]any)
	if prediction["choice"] != "only-lo" || prediction["answer"] != "only-lo" || prediction["right"] != true {
		t.Errorf("judged: %v", prediction)
	}
}

// TestAtOnce: two applies of one step at once do it once.
func TestAtOnce(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	_, _, v := a.do("GET", path, key, nil)
	step := v["current"].(string)
	codes := make(chan int, 2)
	for range 2 {
		go func() {
			req, _ := http.NewRequest("POST", a.url+path+"/steps/"+step+"/apply", nil)
			req.Header.Set("Authorization", "Bearer "+key)
			res, err := a.c.Do(req)
			if err != nil {
				codes <- 0
				return
			}
			res.Body.Close()
			codes <- res.StatusCode
		}()
	}
	if x, y := <-codes, <-codes; x+y != 200+409 {
		t.Errorf("%d and %d, want one 200 and one 409", x, y)
	}
}

// TestCookie: a browser needs no header.
func TestCookie(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	req, _ := http.NewRequest("GET", a.url+path, nil)
	req.AddCookie(&http.Cookie{Name: "kabel_" + url.PathEscape(strings.TrimPrefix(path, "/api/v1/sessions/")), Value: key})
	res, err := a.c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("with the cookie: %d", res.StatusCode)
	}
}

// TestLanguages: a lab is served in the best language there is, and says which.
func TestLanguages(t *testing.T) {
	a := newAPI(t)
	for accept, want := range map[string]string{"": "en", "en-GB,en;q=0.8": "en", "xx": "en", "*;q=bad": "en", "ko-KR,ko;q=0.9": "ko", "id": "id", "fr,vi;q=0.5": "vi"} {
		req, _ := http.NewRequest("GET", a.url+"/api/v1/labs/one-namespace", nil)
		req.Header.Set("Accept-Language", accept)
		res, err := a.c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var lab httpapi.Lab
		if err := json.NewDecoder(res.Body).Decode(&lab); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if lab.Language != want || lab.Title == "" || len(lab.Steps) == 0 || lab.Steps[0].Text == "" {
			t.Errorf("Accept-Language %q: %q, %q, %d steps", accept, lab.Language, lab.Title, len(lab.Steps))
		}
	}
}

// TestSessionLanguage: the session speaks the language that was asked for, or
// that of the browser.
func TestSessionLanguage(t *testing.T) {
	a := newAPI(t)
	for _, c := range []struct{ accept, asked, want string }{{"ko", "", "ko"}, {"ko", "vi", "vi"}, {"", "id", "id"}, {"", "", "en"}} {
		body, _ := json.Marshal(map[string]string{"lab": "one-namespace", "language": c.asked})
		req, _ := http.NewRequest("POST", a.url+"/api/v1/sessions", bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept-Language", c.accept)
		res, err := a.c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var out httpapi.Created
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if out.Language != c.want || out.Steps[0].Hint == "" {
			t.Errorf("Accept-Language %q, asked %q: %q, hint %q", c.accept, c.asked, out.Language, out.Steps[0].Hint)
		}
	}
	path, key := a.start("one-namespace")
	for asked, want := range map[string]string{"ko": "ko", "vi-VN": "vi", "tlh": "en"} {
		if status, _, out := a.do("PUT", path+"/language", key, map[string]any{"language": asked}); status != 200 || out["language"] != want {
			t.Errorf("then asked for %q: %d %v", asked, status, out["language"])
		}
	}
}

// TestOpenAPI sends requests made from the API's own description, right and
// mutated: none may be a fault of ours.
func TestOpenAPI(t *testing.T) {
	a := newAPI(t)
	path, key := a.start("one-namespace")
	status, _, doc := a.do("GET", "/api/v1/openapi.json", "", nil)
	if status != 200 || doc["openapi"] != "3.1.0" {
		t.Fatalf("%d %v", status, doc["openapi"])
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := &generator{r: rand.New(rand.NewPCG(seed, 0)), doc: doc}
	sid := strings.TrimPrefix(path, "/api/v1/sessions/")
	requests := 0
	for p, ops := range doc["paths"].(map[string]any) {
		for method, op := range ops.(map[string]any) {
			if method == "delete" {
				continue // it would end the session that the others need
			}
			for range 60 {
				where := strings.NewReplacer("{id}", sid, "{lab}", g.pick("one-namespace", "nope", "%2e%2e", "ü"), "{step}", url.PathEscape(g.text())).Replace(p)
				var in any
				if rb, ok := op.(map[string]any)["requestBody"].(map[string]any); ok {
					schema := rb["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)
					b, err := json.Marshal(g.value(schema))
					if err != nil {
						t.Fatal(err)
					}
					in = g.mutate(string(b))
				}
				status, _, out := a.do(strings.ToUpper(method), where, key, in)
				requests++
				if status >= 500 {
					t.Errorf("%s %s %v: %d %v", method, where, in, status, out)
				}
				if status >= 400 && out["code"] == nil {
					t.Errorf("%s %s: %d without a code: %v", method, where, status, out)
				}
			}
		}
	}
	if requests < 300 {
		t.Errorf("only %d requests: was the description read?", requests)
	}
	if status, _, out := a.do("GET", path, key, nil); status != 200 {
		t.Errorf("the session after it all: %d %v", status, out)
	}
}

// generator makes values that a JSON schema allows, and some that it doesn't.
type generator struct {
	r   *rand.Rand
	doc map[string]any
}

func (g *generator) pick(s ...string) string { return s[g.r.IntN(len(s))] }

func (g *generator) text() string {
	return g.pick("host1", "host1/kon", "ping", "10.0.0.10", "ip netns add kon", "ip link add a type veth peer name b", "", "..", "ü\x00", strings.Repeat("a", 300), "'", "true", string(topo.ProbePing))
}

func (g *generator) value(schema map[string]any) any {
	if ref, ok := schema["$ref"].(string); ok {
		name := ref[strings.LastIndex(ref, "/")+1:]
		return g.value(g.doc["components"].(map[string]any)["schemas"].(map[string]any)[name].(map[string]any))
	}
	if enum, ok := schema["enum"].([]any); ok && g.r.IntN(4) > 0 {
		return enum[g.r.IntN(len(enum))]
	}
	switch kind := schema["type"]; kind {
	case "object":
		out := map[string]any{}
		props, _ := schema["properties"].(map[string]any)
		for name, p := range props {
			if g.r.IntN(5) > 0 {
				out[name] = g.value(p.(map[string]any))
			}
		}
		return out
	case "array":
		out := []any{}
		for range g.r.IntN(4) {
			out = append(out, g.value(schema["items"].(map[string]any)))
		}
		return out
	case "integer", "number":
		return []any{0, 1, 5, -1, 1e18, 0.5, 60000}[g.r.IntN(7)]
	case "boolean":
		return g.r.IntN(2) == 0
	case "string":
		return g.text()
	default:
		return g.text()
	}
}

// mutate breaks some of the bodies.
func (g *generator) mutate(body string) string {
	if g.r.IntN(4) > 0 || len(body) < 2 {
		return body
	}
	i := g.r.IntN(len(body) - 1)
	return g.pick(body[:i], body[i:], body[:i]+"\x00"+body[i:], body[:i]+`"`+body[i+1:], "["+body+"]", "null", "{}")
}

// TestFreePlay: the choice of machines is a lab's variant, whose texts are served,
// though no list has it.
func TestFreePlay(t *testing.T) {
	a := newAPI(t)
	status, _, out := a.do("POST", "/api/v1/sessions", "", `{"free":{"hosts":3,"join":"router","internet":true,"laptop":true}}`)
	if status != 201 || out["lab"] != "free-play" || out["variant"] != "3-router-internet-laptop" || fmt.Sprint(out["nodes"]) != "[host1 host2 host3 r1 internet laptop]" || fmt.Sprint(out["steps"]) != "[]" {
		t.Fatalf("%d %v", status, out)
	}
	path, key := "/api/v1/sessions/"+out["id"].(string), out["token"].(string)
	if status, _, out := a.do("POST", path+"/ops", key, map[string]any{"node": "host1", "command": "ip netns add kon"}); status != 200 || out["kept"] != 1.0 {
		t.Errorf("an op: %d %v", status, out)
	}
	if status, _, out := a.do("POST", path+"/steps/any/apply", key, nil); status != 404 || out["code"] != "no-such-step" {
		t.Errorf("a step: %d %v", status, out)
	}
	status, _, lab := a.do("GET", "/api/v1/labs/free-play?variant=3-router-internet-laptop", "", nil)
	if status != 200 || lab["id"] != "free-play" || lab["title"] != "Free play" || lab["intro"] == "" || fmt.Sprint(lab["steps"]) != "[]" || fmt.Sprint(lab["variants"]) != "[]" {
		t.Errorf("its texts: %d %v", status, lab)
	}
	res, err := a.c.Get(a.url + "/api/v1/labs")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || strings.Contains(string(b), "free-play") {
		t.Errorf("the list of labs has it: %v", err)
	}
}
