function longest_dry_spell(rain, limit){
    let longest = 0;
    let days = 0;
    for (const amount of rain) {
        days = amount < limit ? days + 1 : 0;
        longest = Math.max(longest, days);
    }
    return longest;
}
