package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"kabel/server/session"
)

// browser is a client with cookies, whose POSTs say where they come from.
type browser struct {
	*api
	jar http.CookieJar
}

func (a *api) browser() *browser {
	a.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return &browser{a, jar}
}

func (b *browser) ask(method, path, body string) (int, http.Header, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if method != "GET" {
		req.Header.Set("Origin", b.url)
		req.Header.Set("Content-Type", "application/json")
	}
	c := &http.Client{Jar: b.jar, Transport: b.c.Transport}
	res, err := c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(answer)
}

func (b *browser) begin(lab string) string {
	b.t.Helper()
	status, header, out := b.ask("POST", "/api/v1/sessions", `{"lab":"`+lab+`"}`)
	if status != 201 {
		b.t.Fatal(status, out)
	}
	return header.Get("Location")
}

func (b *browser) progress() session.Progress {
	b.t.Helper()
	status, _, out := b.ask("GET", "/api/v1/progress", "")
	var p session.Progress
	if err := json.Unmarshal([]byte(out), &p); status != 200 || err != nil {
		b.t.Fatal(status, out, err)
	}
	return p
}

func (b *browser) key() string {
	at, err := url.Parse(b.url + "/api/v1/progress")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.jar.Cookies(at) {
		if c.Name == "kabel_learner" {
			return c.Value
		}
	}
	return ""
}

// TestProgress: a browser is one learner in all its sessions, and can leave.
func TestProgress(t *testing.T) {
	a := newAPI(t)
	b := a.browser()
	if p := b.progress(); len(p.Labs) != 0 || b.key() != "" {
		t.Errorf("before anything: %+v, key %q", p, b.key())
	}
	path := b.begin("one-namespace")
	key := b.key()
	if len(key) < 43 {
		t.Fatalf("the key %q", key)
	}
	if status, _, out := b.ask("POST", path+"/steps/namespace/hint", ""); status != 204 {
		t.Errorf("a hint: %d %s", status, out)
	}
	if status, _, out := b.ask("POST", path+"/steps/namespace/apply", ""); status != 200 {
		t.Fatal(status, out)
	}
	for step, want := range map[string]int{"namespace": 204, "move": 409, "nope": 404} {
		if status, _, out := b.ask("POST", path+"/steps/"+step+"/hint", ""); status != want {
			t.Errorf("the hint of %s: %d %s", step, status, out)
		}
	}
	b.begin("bridge")
	if b.key() != key {
		t.Error("the second session made another learner")
	}
	p := b.progress()
	if len(p.Labs) != 2 || p.Labs[0].Lab != "one-namespace" || p.Labs[0].Session != strings.TrimPrefix(path, "/api/v1/sessions/") || !p.Labs[0].Alive || p.Labs[0].Total < 5 ||
		len(p.Labs[0].Steps) != 1 || p.Labs[0].Steps[0].DoneAt == nil || p.Labs[0].Steps[0].Attempts != 1 || p.Labs[0].Steps[0].Hints != 1 {
		t.Errorf("%+v", p)
	}
	status, header, table := b.ask("GET", "/api/v1/progress.csv", "")
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if status != 200 || len(lines) != 2 || !strings.HasPrefix(lines[0], "lab,variant,session,") || !strings.Contains(lines[1], ",namespace,") ||
		!strings.HasPrefix(header.Get("Content-Type"), "text/csv") || !strings.Contains(header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %v\n%s", status, header, table)
	}
	if status, _, out := b.ask("DELETE", "/api/v1/progress", ""); status != 204 {
		t.Errorf("forget: %d %s", status, out)
	}
	if p := b.progress(); len(p.Labs) != 0 || b.key() != "" {
		t.Errorf("forgotten: %+v, key %q", p, b.key())
	}
	if status, _, out := b.ask("POST", path+"/steps/cable/apply", ""); status != 200 {
		t.Errorf("the session goes on: %d %s", status, out)
	}
	b.begin("bridge")
	if b.key() == "" || b.key() == key || len(b.progress().Labs) != 1 {
		t.Errorf("a new learner: %+v", b.progress())
	}
}

// TestProgressIsOnesOwn: no learner sees or forgets another's, no page of another
// site gets anything, and a program has none.
func TestProgressIsOnesOwn(t *testing.T) {
	a := newAPI(t)
	b, other := a.browser(), a.browser()
	b.begin("one-namespace")
	other.begin("bridge")
	if b.key() == other.key() || len(other.progress().Labs) != 1 || other.progress().Labs[0].Lab != "bridge" {
		t.Errorf("%+v", other.progress())
	}
	if status, _, _ := other.ask("DELETE", "/api/v1/progress", ""); status != 204 || len(b.progress().Labs) != 1 {
		t.Errorf("another's was forgotten: %+v", b.progress())
	}
	for _, c := range []struct {
		method, path, origin string
		status               int
	}{
		{"DELETE", "/api/v1/progress", "http://elsewhere.example", 403},
		{"POST", "/api/v1/progress", "", 405},
		{"PUT", "/api/v1/progress.csv", "", 405},
	} {
		req, err := http.NewRequest(c.method, a.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		req.AddCookie(&http.Cookie{Name: "kabel_learner", Value: b.key()})
		res, err := a.c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status || res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: %d %v", c.method, c.path, res.StatusCode, res.Header)
		}
	}
	if len(b.progress().Labs) != 1 {
		t.Errorf("%+v", b.progress())
	}
	// A key that somebody made up makes no learner of that name.
	made := &http.Cookie{Name: "kabel_learner", Value: session.NewLearner(), Path: "/api/v1"}
	at, _ := url.Parse(a.url)
	stranger := a.browser()
	stranger.jar.SetCookies(at, []*http.Cookie{made})
	stranger.begin("bridge")
	if stranger.key() == made.Value {
		t.Error("a made-up key was taken")
	}
	status, header, out := a.do("POST", "/api/v1/sessions", "", map[string]any{"lab": "bridge"})
	if status != 201 || len(header.Values("Set-Cookie")) != 1 {
		t.Fatalf("a program: %d %v %v", status, header, out)
	}
	if status, _, out := a.do("POST", header.Get("Location")+"/steps/nope/hint", out["token"].(string), nil); status != 404 {
		t.Errorf("%d %v", status, out)
	}
}

// TestTheLearnersCookie: no script reads it, no other site sends it.
func TestTheLearnersCookie(t *testing.T) {
	a := newAPI(t)
	_, header, _ := a.browser().ask("POST", "/api/v1/sessions", `{"lab":"bridge"}`)
	for _, c := range (&http.Response{Header: header}).Cookies() {
		if c.Name == "kabel_learner" {
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/api/v1" || c.Domain != "" || c.MaxAge != 365*24*3600 {
				t.Errorf("%+v", c)
			}
			return
		}
	}
	t.Error("there is none")
}
