package weights

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// bad tells for each folder below testdata/bad, which lays one mistake over the good bundle, what Open says of it.
func bad() map[string]string {
	all := map[string]string{}
	for _, table := range []map[string]string{badGraphs, badIndexes, badNetworks, badSchedulers} {
		maps.Copy(all, table)
	}
	return all
}

func TestOpenNamesTheFileAndTheMistake(t *testing.T) {
	for mistake, want := range bad() {
		t.Run(mistake, func(t *testing.T) {
			_, err := Open(bundle(t, filepath.Join("bad", mistake)))
			if err == nil {
				t.Fatalf("opened it\nwant %s", want)
			}
			if err.Error() != want {
				t.Errorf("said %s\nwant %s", err, want)
			}
		})
	}
}

func TestEveryBadBundleHasItsMessage(t *testing.T) {
	folders, err := os.ReadDir("testdata/bad")
	if err != nil {
		t.Fatal(err)
	}
	table := bad()
	for _, folder := range folders {
		if _, found := table[folder.Name()]; !found {
			t.Errorf("testdata/bad/%s is in no table", folder.Name())
		}
	}
}
