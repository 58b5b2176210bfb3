package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"

	"denoised/inference"
)

// entityTag is a strong validator: two answers that have it have the same bytes. It covers all that decides them: the
// resolved request, the media type, the bundle, and the build, library, device and processor that compute.
func entityTag(plan *inference.Plan, media, version string) string {
	model := plan.Model
	processor := fmt.Sprint(runtime.GOARCH, cpu.X86, cpu.ARM64)
	return `"` + fingerprint(plan.Recipe, media, model.Bundle.Checksum, version, model.Runtime, model.Device, processor) + `"`
}

// fingerprint is a hash over values that encode as JSON.
func fingerprint(values ...any) string {
	hash := sha256.New()
	// Encoding strings, numbers and lists of them cannot fail.
	_ = json.NewEncoder(hash).Encode(values)
	return hex.EncodeToString(hash.Sum(nil))
}

// matches evaluates If-None-Match, which compares weakly (RFC 9110, section 13.1.2).
func matches(headers []string, tag string) bool {
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == tag || part == "*" {
			return true
		}
	}
	return false
}
