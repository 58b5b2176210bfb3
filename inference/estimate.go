package inference

import (
	"math"
	"slices"
)

// EstimateSigma estimates the standard deviation of a picture's noise on the 0…255 scale: the median of the absolute
// values of its finest diagonal wavelet coefficients, over 0.6745 (Donoho & Johnstone 1994). In Haar's basis these
// coefficients are (a − b − c + d)/2 over squares of four pixels; edges touch few of them, which the median ignores. A
// picture too small to have any is taken to be clean.
func EstimateSigma(picture *Picture) float64 {
	var details []float64
	w, h := picture.Width, picture.Height
	for c := range picture.Channels {
		plane := picture.Colours[c*w*h : (c+1)*w*h]
		for y := 0; y+1 < h; y += 2 {
			for x := 0; x+1 < w; x += 2 {
				i := y*w + x
				d := plane[i] - plane[i+1] - plane[i+w] + plane[i+w+1]
				details = append(details, math.Abs(float64(d))/2)
			}
		}
	}
	if len(details) == 0 {
		return 0
	}
	slices.Sort(details)
	return maxSigma * details[len(details)/2] / 0.6745
}
