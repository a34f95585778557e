function temperature_spread(readings){
    const spread = {};
    for (const [city, values] of Object.entries(readings)) {
        if (values.length > 0) {
            spread[city] = Math.max(...values) - Math.min(...values);
        }
    }
    return spread;
}
