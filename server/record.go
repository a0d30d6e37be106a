package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

const captureUsage = `Usage:
  server capture --session ID [flags]  write the packets of a session's world, as they pass, to standard output
                                       or a file, as pcapng: server capture --session ID | wireshark -k -i -

The session's token is read from the environment, KABEL_TOKEN.

Flags:
`

// runCapture records the packets of a session of a server that runs. It is a
// client of the API and no more: what it does, curl can do.
func runCapture(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	f := flag.NewFlagSet("server capture", flag.ContinueOnError)
	f.SetOutput(stderr)
	server := f.String("server", env("KABEL_SERVER", "http://127.0.0.1:8080"), "`URL` of the server (KABEL_SERVER)")
	session := f.String("session", env("KABEL_SESSION", ""), "`id` of the session (KABEL_SESSION)")
	node := f.String("node", "", "only this `node`: host1, or host1/kon")
	link := f.String("link", "", "only interfaces of this `name`")
	filter := f.String("filter", "", "only packets that pass this `expression`, in tcpdump's words")
	snap := f.Int("snap", 0, "keep so many `bytes` of each packet; 0: all")
	duration := f.Duration("duration", 0, "end after so long; 0: when interrupted")
	file := f.String("o", "", "write to this `file`")
	f.Usage = func() { fmt.Fprint(stderr, captureUsage); f.PrintDefaults() }
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; see server capture --help", f.Arg(0))
	}
	if *session == "" {
		return errors.New("which session? Say --session ID, or set KABEL_SESSION")
	}
	token := os.Getenv("KABEL_TOKEN")
	if token == "" {
		return errors.New("KABEL_TOKEN is not set: the session's token came with the answer that created it")
	}
	q := url.Values{}
	for name, v := range map[string]string{"node": *node, "link": *link, "filter": *filter} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if *snap > 0 {
		q.Set("snap", strconv.Itoa(*snap))
	}
	if *duration > 0 {
		q.Set("seconds", strconv.Itoa(max(1, int(duration.Round(time.Second)/time.Second))))
	}
	address, err := url.JoinPath(*server, "api/v1/sessions", *session, "capture.pcapng")
	if err != nil {
		return fmt.Errorf("the server's URL: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		var p struct{ Title, Detail string }
		if json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&p) == nil && p.Title != "" {
			return fmt.Errorf("%s %s", p.Title, p.Detail)
		}
		return fmt.Errorf("the server answered %s", answer.Status)
	}
	out := stdout
	if *file != "" {
		f, err := os.Create(*file)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	if _, err := io.Copy(out, answer.Body); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
