function is_newer_version(version, other){
    const one = version.split('.').map(Number);
    const two = other.split('.').map(Number);
    for (let place = 0; place < Math.max(one.length, two.length); place++) {
        const difference = (one[place] ?? 0) - (two[place] ?? 0);
        if (difference !== 0) {
            return difference > 0;
        }
    }
    return false;
}
