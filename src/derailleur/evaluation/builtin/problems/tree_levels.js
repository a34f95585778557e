function tree_levels(parents){
    const level = (node) => (node === -1 ? 0 : 1 + level(parents[node]));
    return Math.max(0, ...parents.map((_, node) => level(node)));
}
