package weights

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// A folder reads the files of a bundle, each once: the bytes that are checked are the bytes that are hashed.
type folder struct {
	dir, name string
	sums      map[string][]byte // sha256 of the files read, by path
}

func openFolder(dir string) (*folder, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	switch info, err := os.Stat(dir); {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", dir, reason(err))
	case !info.IsDir():
		return nil, fmt.Errorf("%s: is not a folder", dir)
	}
	name := filepath.Base(full)
	if !servable.MatchString(name) {
		return nil, fmt.Errorf("%s: the folder's name is the model's, which has 1 to 64 letters, digits, dots, underscores and dashes", name)
	}
	return &folder{dir: dir, name: name, sums: map[string][]byte{}}, nil
}

// servable is what a model's name may be, so that it can stand in an address, a header and a metric.
var servable = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// has says whether the folder names the file. A link to nowhere counts, and reading it tells what is wrong.
func (f *folder) has(path string) bool {
	_, err := os.Lstat(filepath.Join(f.dir, path))
	return !errors.Is(err, fs.ErrNotExist)
}

// read opens a file, hands it to parse with its length in bytes, hashes all of it, and names it in any error. It streams:
// a network of gigabytes passes through a buffer, once for both the hash and the parser.
func (f *folder) read(path string, parse func(in *bufio.Reader, size int64) error) error {
	sum := sha256.New()
	err := func() error {
		file, err := os.Open(filepath.Join(f.dir, path))
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return errors.New("is not a file")
		}
		in := bufio.NewReaderSize(io.TeeReader(file, sum), 1<<16)
		if err := refuseHollow(in); err != nil {
			return err
		}
		if err := parse(in, info.Size()); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, in)
		return err
	}()
	if err != nil {
		return fmt.Errorf("%s/%s: %w", f.name, path, reason(err))
	}
	f.sums[path] = sum.Sum(nil)
	return nil
}

// refuseHollow finds the files that a clone or a copy leaves in place of the real ones.
func refuseHollow(in *bufio.Reader) error {
	const pointer = "version https://git-lfs"
	start, err := in.Peek(len(pointer))
	switch {
	case err != nil && err != io.EOF:
		return err
	case len(start) == 0:
		return errors.New("is empty")
	case string(start) == pointer:
		return errors.New("is a Git LFS pointer, not the file itself; git lfs pull fetches that")
	}
	return nil
}

// checksum is the sha256 of the list of files and their sums, as sha256sum writes it.
func (f *folder) checksum() string {
	list := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(f.sums)) {
		fmt.Fprintf(list, "%x  %s\n", f.sums[path], path)
	}
	return fmt.Sprintf("%x", list.Sum(nil))
}
