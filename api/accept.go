package api

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// negotiate chooses, among the media types on offer, the one that the request's Accept header likes best (RFC 9110,
// section 12.5.1); between equals the earlier offer wins, and without a header the first. The error is a 406 that lists
// the offers.
func negotiate(r *http.Request, offers ...string) (string, error) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return offers[0], nil
	}
	best, quality := "", 0.0
	for _, offer := range offers {
		if q := qualityOf(accept, offer); q > quality {
			best, quality = offer, q
		}
	}
	if best == "" {
		return "", refuse(http.StatusNotAcceptable, "none of the types in Accept is served here; allowed: %s", strings.Join(offers, ", "))
	}
	return best, nil
}

// qualityOf is the weight that an Accept header gives a media type, by the most specific range that covers it; 0 where
// none does.
func qualityOf(accept, offer string) float64 {
	quality, specific := 0.0, -1
	for part := range strings.SplitSeq(accept, ",") {
		media, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		level := coverage(media, offer)
		if level <= specific {
			continue
		}
		q := 1.0
		if text, ok := parameters["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		quality, specific = q, level
	}
	return quality
}

// coverage says how specifically a media range covers a type: 2 names it, 1 names its first half, 0 covers everything,
// −1 does not cover it.
func coverage(media, offer string) int {
	family, _, _ := strings.Cut(offer, "/")
	switch media {
	case offer:
		return 2
	case family + "/*":
		return 1
	case "*/*":
		return 0
	}
	return -1
}
