// Package onnx runs ONNX graphs with onnxruntime. It holds the only cgo of the project, imports nothing of it, and
// needs the shared library libonnxruntime at run time: call [Find] for its path and [Load] once, before any [Open].
package onnx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"
)

// library is the shared library's file name, and folder is where `make` puts it.
const (
	library = "libonnxruntime.so.1"
	folder  = ".onnxruntime"
)

// Find looks for the shared library beside the executable, in the folder .onnxruntime of the working directory and of
// the directories above it, and in the system's usual places. The error says where it looked and how to fetch it.
func Find() (string, error) {
	var places []string
	if executable, err := os.Executable(); err == nil {
		places = append(places, filepath.Dir(executable))
	}
	if dir, err := os.Getwd(); err == nil {
		for parent := ""; dir != parent; dir, parent = filepath.Dir(dir), dir {
			places = append(places, filepath.Join(dir, folder))
		}
	}
	places = append(places, "/usr/local/lib", "/usr/lib")
	for _, place := range places {
		path := filepath.Join(place, library)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not beside the executable, nor in a folder %s here or above, nor in /usr/local/lib or /usr/lib; "+
		"fetch it with `make %s/%s`, or name it with --onnxruntime", library, folder, folder, library)
}

var loaded atomic.Bool

// Load opens the shared library for the process, which has room for one. It turns onnxruntime's telemetry off first:
// from version 1.29 on the library would report to its makers as soon as it starts.
func Load(path string) error {
	if !loaded.CompareAndSwap(false, true) {
		return errors.New("onnxruntime is loaded already")
	}
	if err := os.Setenv("ORT_DISABLE_TELEMETRY", "1"); err != nil {
		return err
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("load onnxruntime from %s: %w", path, err)
	}
	return nil
}

// Version is the loaded library's.
func Version() string { return ort.GetVersion() }
