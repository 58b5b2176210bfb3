package inference

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

const (
	patchSide   = 8
	mostPatches = 10_000 // more make the estimate no better
)

// EstimateSigma estimates the standard deviation of a picture's noise on the 0…255 scale (Chen, Zhu & Heng 2015,
// algorithm 1). Patches of a picture lie near a plane of few dimensions, so the smallest eigenvalues of their covariance
// are the noise's variance alone. The largest are left out one after the other until the mean of the rest is their median
// too, which the noise's scatter around its variance makes it.
//
// A picture too small for the statistics is judged by its finest details, see detailSigma.
func EstimateSigma(picture *Picture) float64 {
	patches := patchesOf(picture)
	rows, columns := patches.Dims()
	if rows < 4*columns {
		return detailSigma(picture)
	}
	var covariance mat.SymDense
	stat.CovarianceMatrix(&covariance, patches, nil)
	var eigen mat.EigenSym
	if !eigen.Factorize(&covariance, false) {
		return detailSigma(picture)
	}
	values := eigen.Values(nil) // ascending
	for rest := values; len(rest) > 0; rest = rest[:len(rest)-1] {
		mean := stat.Mean(rest, nil)
		below, _ := slices.BinarySearch(rest, mean)
		if 2*below >= len(rest)-1 && 2*below <= len(rest)+1 || len(rest) == 1 {
			return maxSigma * math.Sqrt(max(mean, 0))
		}
	}
	return 0
}

// patchesOf has a patch of all channels in each row, spread evenly over the picture.
func patchesOf(p *Picture) *mat.Dense {
	down, across := p.Height-patchSide+1, p.Width-patchSide+1
	size := p.Channels * patchSide * patchSide
	if down < 1 || across < 1 {
		return mat.NewDense(1, size, nil)
	}
	stride := 1
	for (down+stride-1)/stride*((across+stride-1)/stride) > mostPatches {
		stride++
	}
	var values []float64
	for top := 0; top < down; top += stride {
		for left := 0; left < across; left += stride {
			for c := range p.Channels {
				for y := top; y < top+patchSide; y++ {
					for _, v := range p.Colours[(c*p.Height+y)*p.Width+left:][:patchSide] {
						values = append(values, float64(v))
					}
				}
			}
		}
	}
	return mat.NewDense(len(values)/size, size, values)
}

// detailSigma is the median of the absolute values of the finest diagonal wavelet coefficients, over 0.6745 (Donoho &
// Johnstone 1994). In Haar's basis these are (a − b − c + d)/2 over squares of four pixels; edges touch few of them, which
// the median ignores. A picture too small to have any is taken to be clean.
func detailSigma(picture *Picture) float64 {
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
