package labs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// What a folder of labs may hold: it may come from a stranger.
const (
	maxEntries = 500      // files and folders beside each other
	maxBytes   = 64 << 20 // of all files that are read
)

// Broken is a lab that was left out, and why: the errors joined, each a *Problem
// where it has a place.
type Broken struct {
	ID  string
	Err error
}

// Folder is a directory of labs on disk, one folder a lab. Nothing outside is
// read, whatever links lead there.
type Folder struct {
	root *os.Root
	only string // where the directory named was one lab
}

// Path is where a file is that a Problem of this folder names.
func (f *Folder) Path(file string) string { return filepath.Join(f.root.Name(), file) }

// OpenFolder opens a directory of labs, or one with a single lab, which is the
// one with a lab.yaml in it. The caller closes it.
func OpenFolder(dir string) (*Folder, error) {
	only := ""
	if _, err := os.Stat(filepath.Join(dir, "lab.yaml")); err == nil {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("labs: %w", err)
		}
		dir, only = filepath.Split(abs)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("labs: %w", err)
	}
	return &Folder{root, only}, nil
}

// Close lets go of the directory.
func (f *Folder) Close() error { return f.root.Close() }

// Load reads the labs. Those that have mistakes are left out, see Catalog.Broken.
func (f *Folder) Load() (*Catalog, error) {
	l, err := newLoader()
	if err != nil {
		return nil, err
	}
	return l.catalog(f.root.FS(), f.only)
}

// Stamps has a word for each lab, which changes when one of its files does.
func (f *Folder) Stamps() (map[string]string, error) {
	fsys := f.root.FS()
	ids, err := folders(fsys, f.only)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, id := range ids {
		for _, name := range files {
			if info, err := fs.Stat(fsys, path.Join(id, name)); err == nil {
				out[id] += fmt.Sprintln(name, info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	return out, nil
}

// files are those that a lab is made of.
var files = append([]string{"lab.yaml"}, textFiles()...)

func textFiles() (out []string) {
	for _, lang := range Languages() {
		out = append(out, lang+".md")
	}
	return out
}

// folders lists the folders that have a lab.yaml, or something in its place.
func folders(fsys fs.FS, only string) ([]string, error) {
	if only != "" {
		return []string{only}, nil
	}
	dir, err := fsys.Open(".")
	if err != nil {
		return nil, fmt.Errorf("labs: %w", err)
	}
	defer dir.Close()
	list, ok := dir.(fs.ReadDirFile)
	if !ok {
		return nil, errors.New("labs: not a directory")
	}
	entries, err := list.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("labs: %w", err)
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("labs: there are more than %d files and folders beside each other: keep labs in a directory of their own", maxEntries)
	}
	var ids []string
	for _, e := range entries {
		if _, err := fs.Stat(fsys, path.Join(e.Name(), "lab.yaml")); err == nil || e.Type()&fs.ModeSymlink != 0 || e.IsDir() && !errors.Is(err, fs.ErrNotExist) {
			ids = append(ids, e.Name())
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// read reads a whole file, if it is a plain one of a size that is allowed.
func (l *loader) read(fsys fs.FS, file string) ([]byte, error) {
	info, err := fs.Stat(fsys, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, &Problem{file, 1, 1, fmt.Sprintf("the file can't be read: %v", cause(err)), ""}
	case !info.Mode().IsRegular(): // opening a pipe would wait for ever
		return nil, &Problem{file, 1, 1, "this is no plain file", ""}
	case info.Size() > maxFile:
		return nil, tooLarge(file, info.Size())
	case l.bytes+info.Size() > maxBytes:
		return nil, &Problem{file, 1, 1, fmt.Sprintf("the labs together have more than %d bytes: split them into several directories", maxBytes), ""}
	}
	f, err := fsys.Open(file)
	if err != nil {
		return nil, &Problem{file, 1, 1, fmt.Sprintf("the file can't be read: %v", cause(err)), ""}
	}
	defer f.Close()
	// It may have grown since.
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, &Problem{file, 1, 1, fmt.Sprintf("the file can't be read: %v", cause(err)), ""}
	}
	l.bytes += int64(len(b))
	if len(b) > maxFile {
		return nil, tooLarge(file, int64(len(b)))
	}
	return b, nil
}

func tooLarge(file string, size int64) *Problem {
	return &Problem{file, 1, 1, fmt.Sprintf("the file has %d bytes, %d are allowed: split the lab into two", size, maxFile), ""}
}

// cause is an error without the path, which the problem names already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
