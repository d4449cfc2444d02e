// no qstrs beyond those found in the sources
