package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// The failures of a Store that callers tell apart.
var (
	ErrNotFound = errors.New("no such key")
	ErrConflict = errors.New("the key was changed by somebody else")
)

// Store keeps small values by key, each with a revision. What it has
// acknowledged is on the disk. Keys are letters, digits and - _ = . /
type Store struct {
	kv     jetstream.KeyValue
	bucket string
}

// Store opens the bucket of that name and makes it if need be.
func (e *Engine) Store(ctx context.Context, bucket string) (*Store, error) {
	// A bucket is a stream with these settings. It is made by hand because the
	// client's own way sets AllowDirect, with which a replica that has just
	// rejoined may answer "not found" for a key that was acknowledged.
	_, err := e.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              "KV_" + bucket,
		Subjects:          []string{"$KV." + bucket + ".>"},
		MaxMsgsPerSubject: 1,
		AllowRollup:       true,
		DenyDelete:        true,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Replicas:          e.replicas,
		AllowDirect:       false,
	})
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", bucket, err)
	}
	kv, err := e.js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", bucket, err)
	}
	// A deleted key leaves a mark behind; those of the past are swept here.
	if err := kv.PurgeDeletes(ctx, jetstream.DeleteMarkersOlderThan(-1)); err != nil {
		return nil, fmt.Errorf("store %s: %w", bucket, err)
	}
	return &Store{kv, bucket}, nil
}

// Get is the value of key and its revision; ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	entry, err := s.kv.Get(ctx, key)
	if err != nil {
		return nil, 0, s.failed("get", key, err)
	}
	return entry.Value(), entry.Revision(), nil
}

// Put sets key, whatever was there, and returns the new revision.
func (s *Store) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	rev, err := s.kv.Put(ctx, key, value)
	return rev, s.failed("put", key, err)
}

// Create sets a key that is not there; ErrConflict if it is.
func (s *Store) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	rev, err := s.kv.Create(ctx, key, value)
	return rev, s.failed("create", key, err)
}

// CompareAndSwap sets key if its revision is still rev; ErrConflict if not.
func (s *Store) CompareAndSwap(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	rev, err := s.kv.Update(ctx, key, value, rev)
	return rev, s.failed("swap", key, err)
}

// Delete removes key; it is no error if there is none.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.failed("delete", key, s.kv.Purge(ctx, key))
}

// Keys lists the keys in order.
func (s *Store) Keys(ctx context.Context) ([]string, error) {
	list, err := s.kv.ListKeys(ctx)
	if err != nil {
		return nil, s.failed("list", "", err)
	}
	var keys []string
	for k := range list.Keys() {
		keys = append(keys, k)
	}
	// The list also ends when ctx does; half a list must not pass for a whole.
	if err := ctx.Err(); err != nil {
		return nil, s.failed("list", "", err)
	}
	slices.Sort(keys)
	return keys, nil
}

func (s *Store) failed(what, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound):
		err = ErrNotFound
	case errors.Is(err, jetstream.ErrKeyExists), isWrongRevision(err):
		err = ErrConflict
	}
	return fmt.Errorf("store %s: %s %q: %w", s.bucket, what, key, err)
}

func isWrongRevision(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}
