package labs_test

import (
	"regexp"
	"strings"
	"testing"

	"kabel/labs"
)

func TestTextOfALab(t *testing.T) {
	text := smallPlan(t, files(small, smallText), "").Text("en")
	step := text.Steps["one"]
	for what, c := range map[string]struct{ got, want string }{
		"language": {text.Language, "en"},
		"title":    {text.Title, "A small lab"},
		"summary":  {text.Summary, "One step."},
		"intro":    {text.Intro, "<p>Hello kon at 172.16.0.1.</p>"},
		"variant":  {text.Variants["other"], "Other names"},
		"step":     {step.Title, "Make kon"},
		"body":     {step.Body, "<p>Do it with <code>ip netns add kon</code>.</p>"},
		"question": {step.Question, "<p>Will kon be there?</p>"},
		"option":   {step.Options["no"], "It won't, never."},
		"hint":     {step.Hints["late"], "Too late for kon."},
		"after":    {step.After, "<p>There.</p>"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", what, c.got, c.want)
		}
	}
}

func TestTextFallsBackToEnglishKeyByKey(t *testing.T) {
	fsys := files(small, smallText)
	fsys["small/ko.md"] = file("# 작은 실습\n\n## step one: kon 만들기\n\n### hint none\n\nkon이 아직 없습니다.\n")
	p := smallPlan(t, fsys, "")
	text := p.Text("ko-KR")
	if text.Language != "ko" || text.Title != "작은 실습" || text.Steps["one"].Hints["none"] != "kon이 아직 없습니다." {
		t.Errorf("the Korean words: got %+v", text)
	}
	if text.Summary != "One step." || text.Steps["one"].Hints["late"] != "Too late for kon." || text.Steps["one"].Body == "" {
		t.Errorf("what is missing should be English: got %+v", text)
	}
	if red := smallPlan(t, fsys, "other").Text("ko").Steps["one"]; red.Hints["none"] != "red이 아직 없습니다." {
		t.Errorf("a name with a Korean particle: got %q", red.Hints["none"])
	}
	for _, unknown := range []string{"vi", "", "xx", "../en"} {
		if got := p.Text(unknown).Language; got != "en" {
			t.Errorf("Text(%q) is in %q, want en", unknown, got)
		}
	}
}

func TestTextsCannotCarryScripts(t *testing.T) {
	bad := strings.Replace(smallText, "Hello kon", `Hello <script>alert(1)</script><img src=x onerror=alert(1)> [a](javascript:alert(1)) [b](https://example.org/) kon`, 1)
	bad = strings.Replace(bad, "Too late", "Too late <b onclick=x>&lt;now&gt;</b>", 1)
	text := smallPlan(t, files(small, bad), "").Text("en")
	for _, evil := range []string{"<script", "<img", "javascript:", "onerror"} {
		if strings.Contains(text.Intro, evil) {
			t.Errorf("%q is in %q", evil, text.Intro)
		}
	}
	if !strings.Contains(text.Intro, `href="https://example.org/"`) {
		t.Errorf("an honest link is gone: %q", text.Intro)
	}
	if got := text.Steps["one"].Hints["late"]; strings.Contains(got, "onclick") {
		t.Errorf("hint: %q", got)
	}
}

// What a browser is given has only the elements and links that are allowed,
// whatever a text tries.
func TestAttacksByText(t *testing.T) {
	allowed := regexp.MustCompile(`^</?(p|br|em|strong|code|pre|ul|ol|li|blockquote|h4|h5|table|thead|tbody|tr|th|td)/?>$|^<a href="https://[^"]*" rel="[a-z ]+" target="_blank">$|^</a>$`)
	tag := regexp.MustCompile(`<[^>]*>?`)
	for name, attack := range map[string]string{
		"script":             `<script>alert(1)</script>`,
		"script in pieces":   `<scr<script>ipt>alert(1)</scr</script>ipt>`,
		"onerror":            `<img src=x onerror=alert(1)>`,
		"an allowed element": `<p onclick="alert(1)" style="position:fixed" class="x" id="content">x</p>`,
		"javascript":         `[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](java&#115;cript:alert(1)) [d](&#x6A;avascript:alert(1))`,
		"data":               `[a](data:text/html;base64,PHNjcmlwdD4=) ![b](data:image/svg+xml;base64,PHN2Zz4=)`,
		"other schemes":      `[a](vbscript:x) [b](file:///etc/passwd) [c](//evil.example/) [d](http://evil.example/) <ftp://evil.example/>`,
		"our own pages":      `[a](/api/v1/labs) [b](#/lab/x) [c](..)`,
		"a quote in a link":  `[a](https://example.org/"onmouseover="alert(1))`,
		"an image":           `![a](https://evil.example/track.png)`,
		"svg":                `<svg onload=alert(1)><script>alert(1)</script></svg>`,
		"math":               `<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>`,
		"style":              `<style>*{display:none}</style><link rel=stylesheet href=https://evil.example/>`,
		"iframe":             `<iframe srcdoc="<script>alert(1)</script>"></iframe><object data=x></object><embed src=x>`,
		"a form":             `<form action=https://evil.example/><input name=token><button>go</button></form>`,
		"base and meta":      `<base href=https://evil.example/><meta http-equiv=refresh content="0;url=https://evil.example/">`,
		"a template":         `<template shadowrootmode=open><script>alert(1)</script></template>`,
		"a comment":          `<!--><img src=x onerror=alert(1)>-->`,
		"CDATA":              `<![CDATA[<script>alert(1)</script>]]>`,
		"a null":             "<scr\x00ipt>alert(1)</script>",
		"a fence's language": "```\"><script>alert(1)</script>\nx\n```",
		"entities":           `&lt;script&gt;alert(1)&lt;/script&gt;`,
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(smallText, "Hello kon", attack+"\n\nHello kon", 1)
			if !strings.HasPrefix(attack, "```") {
				bad = strings.Replace(bad, "Too late", strings.ReplaceAll(attack, "\n", " ")+" Too late", 1)
			}
			text := smallPlan(t, files(small, bad), "").Text("en")
			for _, got := range tag.FindAllString(text.Intro, -1) {
				if !allowed.MatchString(got) {
					t.Errorf("%q is let through", got)
				}
			}
			if !strings.Contains(text.Intro, "Hello kon") {
				t.Errorf("the words behind it are lost: %.200q", text.Intro)
			}
		})
	}
}

// What would keep a parser of Markdown busy is refused before it sees it.
func TestTextsOfStrangersAreBounded(t *testing.T) {
	for name, attack := range map[string]string{
		"nested quotes": strings.Repeat("> ", 5000) + "deep",
		"nested lists":  strings.Repeat("- ", 3000) + "deep",
		"brackets":      strings.Repeat("[a](", 4000),
		"a long text":   strings.Repeat("word ", 5000),
	} {
		_, err := labs.Load(files(small, strings.Replace(smallText, "Hello kon", attack+"\n\nHello kon", 1)))
		if err == nil {
			t.Errorf("%s: it was accepted", name)
		}
	}
}

func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                "en",
		"id":                              "id",
		"in":                              "id", // the old code of Indonesian
		"ko-KR,ko;q=0.9,en;q=0.8":         "ko",
		"vi-VN;q=0.3, fr;q=0.9, id;q=0.5": "id",
		"de,fr":                           "en",
		"*":                               "en",
		"not a header;;;":                 "en",
	} {
		if got := labs.Negotiate(accept); got != want {
			t.Errorf("%q: got %s, want %s", accept, got, want)
		}
	}
}

// What every lab must have, beyond what Load demands of any lab.
func TestBuiltInLabs(t *testing.T) {
	c, err := labs.BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	for _, lab := range c.Labs() {
		for _, variant := range append([]string{""}, lab.Variants...) {
			t.Run(lab.ID+" "+variant, func(t *testing.T) {
				p, err := lab.Plan(variant)
				if err != nil {
					t.Fatal(err)
				}
				dryRun(t, p)
			})
		}
	}
}

func dryRun(t *testing.T, p *labs.Plan) {
	if n := len(p.Steps); n < 6 || n > 12 {
		t.Errorf("%d steps, want 6 to 12", n)
	}
	text := p.Text("en")
	predictions := 0
	for _, s := range p.Steps {
		if len(s.Do) > 6 {
			t.Errorf("step %s has %d commands", s.ID, len(s.Do))
		}
		for _, c := range s.Do {
			if c.Op.Node.Machine() != string(c.Node) {
				t.Errorf("step %s: %q typed on %s happens on %s", s.ID, c.Text, c.Node, c.Op.Node)
			}
		}
		if done, err := s.Check.Eval(t.Context(), labs.State{}); err != nil || done {
			t.Errorf("step %s is done in an empty world: %v, %v", s.ID, done, err)
		}
		for _, h := range s.Hints {
			if h.When == nil {
				continue
			}
			if _, err := h.When.Eval(t.Context(), labs.State{}); err != nil {
				t.Errorf("step %s, hint %s: %v", s.ID, h.ID, err)
			}
		}
		if last := s.Hints[len(s.Hints)-1]; last.When != nil {
			t.Errorf("step %s: nothing is said where no hint's condition holds", s.ID)
		}
		if s.Predict != nil {
			predictions++
			if _, err := s.Predict.Answer.Eval(t.Context(), labs.State{}); err != nil {
				t.Errorf("step %s, prediction: %v", s.ID, err)
			}
		}
		if st := text.Steps[s.ID]; st.Title == "" || st.Body == "" || st.After == "" {
			t.Errorf("step %s lacks words: %+v", s.ID, st)
		}
	}
	if predictions < 2 {
		t.Errorf("%d predictions, want 2 or more", predictions)
	}
}
